//! Hostile donors: their frames, checksums and digest are right, and they try to write outside the directory.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use harness::xbstream::write::{REWRITE, end, file, payload, remove, rename, sparse};
use mysqlset::unpack::Format;

use crate::framed;
use crate::sample::{FORMATS, backup, scratch};
use crate::tree::Tree;

/// A directory `target` to unpack into, beside a directory that must stay untouched.
pub fn place() -> tempfile::TempDir {
    let place = scratch();
    fs::create_dir(place.path().join("target")).unwrap();
    fs::create_dir(place.path().join("outside")).unwrap();
    fs::write(place.path().join("outside/kept"), "kept").unwrap();
    place
}

/// Everything in the place except the target; links in it are not followed.
pub fn outside(place: &Path) -> Tree {
    let mut tree = Tree::read(place);
    tree.files.retain(|name, _| !name.starts_with("target"));
    tree.directories.retain(|name| !name.starts_with("target"));
    tree
}

fn refused_in(place: &Path, format: Format, chunks: &[Vec<u8>]) {
    let before = outside(place);
    let whole = [chunks.to_vec(), backup(format)].concat();
    let error = framed::from_a_donor(&place.join("target"), format, &whole).expect_err("a hostile backup");
    assert!(error.contains("damaged backup stream"), "{error}");
    outside(place).must_equal(&before, &error);
}

/// In each kind of chunk with a name.
fn refused_everywhere(name: &[u8]) {
    for format in FORMATS {
        for chunks in [file(name, b"evil"), vec![end(name)], vec![payload(0, name, 0, b""), end(name)]] {
            refused_in(place().path(), format, &chunks);
        }
    }
    let sparse = vec![sparse(name, 0, &[(1, 4)], b"evil"), end(name)];
    refused_in(place().path(), Format::XbstreamPercona, &sparse);
    let victim = file(b"victim", b"x");
    for chunks in [
        vec![payload(REWRITE, name, 0, b"evil"), end(name)],
        [victim.clone(), vec![rename(b"victim", name)]].concat(),
        [victim.clone(), vec![rename(name, b"taken")]].concat(),
        vec![remove(name)],
    ] {
        refused_in(place().path(), Format::XbstreamMariaDb, &chunks);
    }
}

#[test]
fn a_path_that_goes_up() {
    for name in ["..", "../outside/evil", "../outside/kept", "db/../../outside/kept", "db/.."] {
        refused_everywhere(name.as_bytes());
    }
}

#[test]
fn an_absolute_path() {
    let place = place();
    let kept = place.path().join("outside/kept");
    refused_everywhere(kept.as_os_str().as_encoded_bytes());
    assert_eq!(fs::read(kept).unwrap(), b"kept");
}

#[test]
fn an_empty_path() {
    refused_everywhere(b"");
}

#[test]
fn a_path_with_a_nul() {
    refused_everywhere(b"\0");
    refused_everywhere(b"db/t.ibd\0.frm");
}

/// A link in a tar is refused by its type. A file that a server follows, loads or obeys is refused by its name.
#[test]
fn a_name_that_a_server_would_follow_load_or_obey() {
    for name in [
        "db/t.isl",
        "evil.so",
        "db/libevil.so.1",
        "lost+found/evil",
        "auto.cnf",
        "mysqld-auto.cnf",
        "db/backup-my.cnf",
        "my.cnf",
        "mysqld.my",
        "ddl_recovery.log",
        "server-key.pem",
        ".ssh/authorized_keys",
    ] {
        refused_everywhere(name.as_bytes());
    }
}

#[test]
fn a_directory_that_is_a_link() {
    for format in FORMATS {
        let place = place();
        symlink("../outside", place.path().join("target/db")).unwrap();
        refused_in(place.path(), format, &file(b"db/evil", b"evil"));
        refused_in(place.path(), format, &[end(b"db/evil")]);
        refused_in(place.path(), format, &file(b"db/kept", b"evil"));
    }
    for chunks in [
        vec![remove(b"db/kept")],
        vec![payload(REWRITE, b"db/kept", 0, b"evil"), end(b"db/kept")],
        vec![rename(b"db/kept", b"taken")],
        [file(b"evil", b"evil"), vec![rename(b"evil", b"db/kept")]].concat(),
    ] {
        let place = place();
        symlink("../outside", place.path().join("target/db")).unwrap();
        refused_in(place.path(), Format::XbstreamMariaDb, &chunks);
    }
}

#[test]
fn a_file_that_is_a_link() {
    for chunks in
        [file(b"link", b"evil"), vec![end(b"link")], vec![payload(REWRITE, b"link", 0, b"evil"), end(b"link")]]
    {
        let place = place();
        symlink("../outside/kept", place.path().join("target/link")).unwrap();
        refused_in(place.path(), Format::XbstreamMariaDb, &chunks);
    }
}

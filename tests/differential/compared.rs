//! The real tool's outcome for the breaks that this program refuses, as a table. (`--nocapture` shows it.)
//!
//! Its exit status says little: it is 0 for most missing or hostile parts. Ours is independent of it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use harness::xbstream::write::{end, file, payload, remove, rename};
use harness::xbstream::{self, Field};
use mysqlset::unpack::{Format, unpack};

use crate::hostile::{outside, place};
use crate::mbstream;
use crate::sample::backup;

const FORMAT: Format = Format::XbstreamMariaDb;

/// A break, and the real tool's exit status; `None` where the tests accept any.
type Case = (&'static str, Vec<u8>, Option<i32>);

fn damaged() -> Vec<Case> {
    let stream = backup(FORMAT).concat();
    let chunks = xbstream::chunks(FORMAT, &stream);
    let first = |field| chunks[0].find(field).unwrap();
    let cut = |at: usize| stream[..at].to_vec();
    let flip = |field, mask| {
        let mut damaged = stream.clone();
        damaged[first(field).start] ^= mask;
        damaged
    };
    let changed = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut chunks = backup(FORMAT);
        change(&mut chunks);
        chunks.concat()
    };
    vec![
        ("nothing at all", Vec::new(), Some(0)),
        ("cut between two chunks", cut(chunks[3].at.start), Some(0)),
        ("cut inside a head", cut(chunks[3].at.start + 5), Some(1)),
        ("cut inside a path", cut(chunks[3].at.start + 16), Some(1)),
        ("cut inside a payload", cut(chunks[0].at.end - 3), Some(1)),
        ("a bit of the magic", flip(Field::Magic, 1), Some(1)),
        ("a bit of the type", flip(Field::Type, 0x20), Some(1)),
        ("a bit of a path's length", flip(Field::PathLength, 1), Some(1)),
        ("a bit of a length", flip(Field::Length, 1), Some(1)),
        ("a bit of an offset", flip(Field::Offset, 1), Some(1)),
        ("a bit of a checksum", flip(Field::Checksum, 1), Some(1)),
        ("a bit of a payload", flip(Field::Data, 1), Some(1)),
        ("a path of 512 bytes", file(&[b'n'; 512], b"x").concat(), Some(1)),
        ("garbage behind the last chunk", [&stream, b"garbage, more of it".as_slice()].concat(), Some(1)),
        ("a chunk twice", changed(&|chunks| chunks.insert(0, chunks[0].clone())), Some(1)),
        ("a chunk missing", changed(&|chunks| drop(chunks.remove(0))), Some(1)),
        ("two chunks swapped", changed(&|chunks| chunks.swap(0, 2)), Some(1)),
        ("an end missing", changed(&|chunks| drop(chunks.remove(3))), Some(0)),
        ("a file that comes again", [file(b"a", b"x"), file(b"a", b"y")].concat().concat(), Some(0)),
    ]
}

fn hostile() -> Vec<Case> {
    // A whole backup follows, so the break is the only fault.
    let behind = |chunks: Vec<u8>| [chunks, backup(FORMAT).concat()].concat();
    let alone = |name: &[u8]| file(name, b"evil").concat();
    let renamed = |from: &[u8], to: &[u8]| [file(b"a", b"evil").concat(), rename(from, to)].concat();
    let cases = vec![
        ("a path that goes up", alone(b"../outside/evil"), Some(0)),
        ("a path that goes down and up", alone(b"db/../../outside/evil"), Some(0)),
        ("an absolute path", alone(b"/nowhere/evil"), Some(0)),
        ("an empty path", alone(b""), None),
        ("a path with a NUL", alone(b"nul\0evil"), Some(0)),
        ("a directory that is a link", alone(b"link/evil"), Some(0)),
        ("a rename that goes up", renamed(b"a", b"../outside/evil"), Some(0)),
        ("a rename over a file outside", renamed(b"a", b"../outside/kept"), Some(0)),
        ("a rename from outside", renamed(b"../outside/kept", b"b"), Some(0)),
        ("a remove that goes up", remove(b"../outside/kept"), Some(0)),
        ("a rename of what is open", [payload(0, b"a", 0, b"x"), rename(b"a", b"b"), end(b"b")].concat(), None),
    ];
    cases.into_iter().map(|(what, stream, status)| (what, behind(stream), status)).collect()
}

/// A target that holds a link to the outside.
fn prepared() -> tempfile::TempDir {
    let place = place();
    symlink("../outside", place.path().join("target/link")).unwrap();
    place
}

fn refused_by_us(what: &str, stream: &[u8], place: &Path) {
    let before = outside(place);
    let result = unpack(FORMAT, stream, &place.join("target"));
    assert!(result.and_then(|summary| summary.require_backup_metadata()).is_err(), "{what}");
    outside(place).must_equal(&before, what);
}

#[test]
fn the_real_tools_outcome_of_each_break() {
    println!("{:32} {:10} {:>6}  {:10}  last words", "break", "mysqlset", "status", "outside");
    for (what, stream, status) in [damaged(), hostile()].concat() {
        refused_by_us(what, &stream, prepared().path());
        let place = prepared();
        let before = outside(place.path());
        let output = mbstream::unpack(&stream, &place.path().join("target"));
        let said = String::from_utf8_lossy(&output.stderr).trim().lines().last().unwrap_or("").to_owned();
        let touched = if outside(place.path()) == before { "" } else { "CHANGED" };
        let found = output.status.code();
        println!(
            "{what:32} {:10} {:>6}  {touched:10}  {said}",
            "refused",
            found.map_or("-".into(), |code| code.to_string())
        );
        assert!(status.is_none() || found == status, "{what}: mbstream ended with {found:?}: {said}");
    }
}

/// Legal for this program and in the format. The real tool takes the rename's path for the payload when it checks it
/// again.
#[test]
fn the_real_tool_fails_on_an_end_behind_a_rename() {
    let stream = [file(b"a", b"x").concat(), rename(b"a", b"b"), end(b"empty")].concat();
    let place = place();
    assert_eq!(mbstream::unpack(&stream, &place.path().join("target")).status.code(), Some(1));
    fs::create_dir(place.path().join("ours")).unwrap();
    assert_eq!(unpack(FORMAT, stream.as_slice(), &place.path().join("ours")).unwrap().files, 2);
}

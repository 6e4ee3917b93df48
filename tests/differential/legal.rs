//! Everything that the format allows. This program, the real tool, and the tests' own plain reading must unpack it to
//! the same files. XtraBackup's sparse chunks have no real tool here, so only the plain reading confirms them.

use std::path::Path;

use harness::dice::Dice;
use harness::xbstream;
use mysqlset::unpack::{Format, unpack};

use crate::generator::Generator;
use crate::sample::scratch;
use crate::tree::{self, Tree};
use crate::{mbstream, seed};

/// A stream's files by the tests' own reading, and the directories that unpacking makes.
fn expected(format: Format, stream: &[u8], directory: &Path) -> Tree {
    let mut tree = Tree::default();
    for (name, contents) in xbstream::files(format, stream) {
        tree.insert(std::str::from_utf8(&name).unwrap(), contents.bytes(stream));
    }
    // A directory stays after its files are renamed away or removed.
    tree.directories = Tree::read(directory).directories;
    tree
}

fn ours(format: Format, stream: &[u8], what: &str) -> tempfile::TempDir {
    let directory = scratch();
    unpack(format, stream, directory.path()).unwrap_or_else(|error| panic!("{what}: {error}"));
    tree::must_be_private(directory.path());
    directory
}

#[test]
fn random_streams_of_mariadbs_kind() {
    let seed = seed();
    let mut seen = [0; 256];
    for number in 0..60 {
        let what = format!("SEED={seed}, stream {number}");
        let mut dice = Dice::new(seed, 1000 + number);
        let stream = Generator::chunks(Format::XbstreamMariaDb, 20 + 5 * number, &mut dice).concat();
        xbstream::chunks(Format::XbstreamMariaDb, &stream).iter().for_each(|chunk| seen[usize::from(chunk.kind)] += 1);
        let theirs = scratch();
        mbstream::unpack_good(&stream, theirs.path(), &what);
        let ours = ours(Format::XbstreamMariaDb, &stream, &what);
        let tree = Tree::read(ours.path());
        tree.must_equal(&Tree::read(theirs.path()), &what);
        tree.must_equal(&expected(Format::XbstreamMariaDb, &stream, ours.path()), &what);
    }
    for kind in b"PESRD" {
        assert!(seen[usize::from(*kind)] > 50, "SEED={seed}: too few chunks {:?}", *kind as char);
    }
}

#[test]
fn random_streams_of_perconas_kind() {
    let seed = seed();
    let mut sparse = 0;
    for number in 0..60 {
        let what = format!("SEED={seed}, stream {number}");
        let mut dice = Dice::new(seed, 2000 + number);
        let stream = Generator::chunks(Format::XbstreamPercona, 20 + 2 * number, &mut dice).concat();
        sparse += xbstream::chunks(Format::XbstreamPercona, &stream).iter().filter(|chunk| chunk.kind == b'S').count();
        let ours = ours(Format::XbstreamPercona, &stream, &what);
        Tree::read(ours.path()).must_equal(&expected(Format::XbstreamPercona, &stream, ours.path()), &what);
    }
    assert!(sparse > 100, "SEED={seed}: too few sparse chunks");
}

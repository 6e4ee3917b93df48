//! A packed tree of the real tool: both programs unpack it to the same tree, which is the original.

use harness::dice::Dice;
use mysqlset::unpack::{Format, unpack};

use crate::tree::{self, Tree, contents};
use crate::{mbstream, seed};

/// Sizes at which the behaviour changes: blocks, pieces of one write, the tool's buffer of 10 MiB.
const EDGES: [usize; 8] = [512, 4 << 10, 16 << 10, 128 << 10, 256 << 10, 1 << 20, 2 << 20, 10 << 20];

fn check(tree: &Tree, what: &str) {
    let directory = tempfile::tempdir().unwrap();
    let [packed, theirs, ours] = ["packed", "theirs", "ours"].map(|name| directory.path().join(name));
    for path in [&packed, &theirs, &ours] {
        std::fs::create_dir(path).unwrap();
    }
    tree.write(&packed);
    let stream = mbstream::pack(&packed, tree.files.keys());
    mbstream::unpack_good(&stream, &theirs, what);
    let summary =
        unpack(Format::XbstreamMariaDb, stream.as_slice(), &ours).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(summary.files, tree.files.len() as u64, "{what}");
    let (theirs, ours_read) = (Tree::read(&theirs), Tree::read(&ours));
    ours_read.must_equal(&theirs, what);
    ours_read.must_equal(tree, what);
    tree::must_be_private(&ours);
}

#[test]
fn files_of_sizes_around_every_edge() {
    let mut dice = Dice::new(seed(), 0);
    let mut tree = Tree::default();
    tree.insert("empty", Vec::new());
    tree.insert("db/empty.ibd", Vec::new());
    tree.insert("db/one.ibd", vec![7]);
    for edge in EDGES {
        for size in edge - 1..=edge + 1 {
            tree.insert(&format!("db/of_{size}.ibd"), contents(&mut dice, size));
        }
    }
    tree.insert("ibdata1", contents(&mut dice, (20 << 20) + 1));
    check(&tree, "sizes around the edges");
}

#[test]
fn random_trees() {
    let seed = seed();
    for number in 0..24 {
        let mut dice = Dice::new(seed, number);
        let mut tree = Tree::default();
        for _ in 0..1 + dice.below(60) {
            let size = match dice.below(20) {
                0 => 0,
                1 => dice.below(3 << 20),
                2..6 => dice.below(300 << 10),
                _ => dice.below(20 << 10),
            };
            tree.insert(&tree::name(&mut dice), contents(&mut dice, size as usize));
        }
        check(&tree, &format!("SEED={seed}, tree {number}"));
    }
}

#[test]
fn every_name_of_a_server() {
    let mut tree = Tree::default();
    for name in tree::NAMES {
        tree.insert(name, name.as_bytes().to_vec());
    }
    check(&tree, "names");
}

//! What the fuzzer has found worth keeping (fuzz/corpus/) is fed to its targets once more, on stable Rust.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use harness::parsers::TARGETS;
use peak_alloc::PeakAlloc;

/// The parsers measure by it how much memory they take.
#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn names_in(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

/// The only test here: memory is measured, and what another test took meanwhile, or the harness for it, would count.
#[test]
fn every_target_is_fuzzed_and_bears_its_corpus() {
    let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names, names_in(&fuzz().join("fuzz_targets")));
    assert_eq!(names, names_in(&fuzz().join("corpus")));
    for (name, target) in TARGETS {
        let directory = fuzz().join("corpus").join(name);
        let inputs = names_in(&directory);
        assert!(!inputs.is_empty(), "{} is empty", directory.display());
        for input in inputs {
            // A failure names no input by itself.
            println!("{name}/{input}");
            target(&fs::read(directory.join(input)).unwrap());
        }
    }
}

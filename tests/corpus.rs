//! Feeds the inputs that the fuzzer kept (fuzz/corpus/) to its targets again, on stable Rust.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use harness::parsers::TARGETS;
use peak_alloc::PeakAlloc;

/// Measures the memory that the parsers take.
#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn names_in(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

/// The only test here: its measure of memory would count another test and the harness too.
#[test]
fn every_target_is_fuzzed_and_passes_its_corpus() {
    let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names, names_in(&fuzz().join("fuzz_targets")));
    assert_eq!(names, names_in(&fuzz().join("corpus")));
    for (name, target) in TARGETS {
        let directory = fuzz().join("corpus").join(name);
        let inputs = names_in(&directory);
        assert!(!inputs.is_empty(), "{} is empty", directory.display());
        for input in inputs {
            // A failure alone does not name the input.
            println!("{name}/{input}");
            target(&fs::read(directory.join(input)).unwrap());
        }
    }
}

//! The harness's parsers, for the fuzzer: `make fuzz TARGET=name` feeds one at random.
//!
//! What is asked of each is in `tests/harness/src/parsers/`.

pub use harness::parsers::*;
use peak_alloc::PeakAlloc;

/// The parsers measure by it how much memory they take.
#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

//! The harness's parsers, for the fuzzer: `make fuzz TARGET=name` feeds one with random bytes.
//!
//! The demands on each are in `tests/harness/src/parsers/`.

pub use harness::parsers::*;
use peak_alloc::PeakAlloc;

/// Measures the memory that the parsers take.
#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

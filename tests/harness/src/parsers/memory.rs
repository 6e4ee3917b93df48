//! The memory that a parser takes.

use peak_alloc::PeakAlloc;

/// Each program that calls the parsers makes it its own with `#[global_allocator]`.
const ALLOCATOR: PeakAlloc = PeakAlloc;

/// Fails if `work` takes more than this many bytes at any time. Other threads' memory counts too.
pub fn within<T>(limit: usize, work: impl FnOnce() -> T) -> T {
    let before = ALLOCATOR.current_usage();
    assert!(before > 0, "nothing is measured: this program has another allocator");
    ALLOCATOR.reset_peak_usage();
    let result = work();
    let taken = ALLOCATOR.peak_usage().saturating_sub(before);
    assert!(taken <= limit, "{taken} bytes of memory were taken, {limit} are allowed");
    result
}

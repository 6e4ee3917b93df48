//! How much memory a parser takes.

use peak_alloc::PeakAlloc;

/// Each program that calls the parsers has it as its own: `#[global_allocator]`.
const ALLOCATOR: PeakAlloc = PeakAlloc;

/// Fails where `work` takes more than so many bytes at any time; other threads' count too.
pub fn within<T>(limit: usize, work: impl FnOnce() -> T) -> T {
    let before = ALLOCATOR.current_usage();
    assert!(before > 0, "nothing is measured: this program has another allocator");
    ALLOCATOR.reset_peak_usage();
    let result = work();
    let taken = ALLOCATOR.peak_usage().saturating_sub(before);
    assert!(taken <= limit, "{taken} bytes of memory were taken, {limit} are allowed");
    result
}

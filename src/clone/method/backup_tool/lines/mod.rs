//! What the lines of a backup tool mean: which of them fail a prepare, which tell why a backup failed, and how far a
//! recovery came.
//!
//! The tools end with 0 and `completed OK!` over copies that lack rows, so each line is looked at. A copy fails by a
//! line on a list ([`faults`]), never for a line that is on none: the tools say much that only looks bad.

mod backing_up;
mod faults;
mod known;
mod preparing;
mod reached;

pub use backing_up::BackupLines;
pub use faults::Fault;
pub use known::Words;
pub(super) use known::words;
pub(super) use preparing::PrepareLines;

//! Interprets the output lines of a backup tool: lines that fail a prepare, lines that tell why a backup failed, and
//! how far a recovery came.
//!
//! The tools end with 0 and `completed OK!` even over copies that lack rows, so each line is examined. Only a line on a
//! list ([`faults`]) fails a copy, because many other lines merely look bad.

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

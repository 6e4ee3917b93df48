//! Plain data shared by all other folders: ordinals, set identity, positions, events and exit codes. Free of I/O
//! and async.

pub mod event;
pub mod exit;
pub mod host;
pub mod identity;
pub mod ordinal;
pub mod position;
pub mod version;

//! Plain data that every other folder speaks of: who a pod is, which set data belong to, where replication stands, what
//! happened and why a command gave up. No I/O and no async.

pub mod event;
pub mod exit;
pub mod host;
pub mod identity;
pub mod ordinal;
pub mod position;
pub mod version;

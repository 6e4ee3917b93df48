//! What a backup is taken of, and how.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::model::host::HostPort;
use crate::server::account::Account;
use crate::sys::limits::Descriptors;

/// What a backup is taken of, and how.
pub struct Backup<'a> {
    pub server: &'a HostPort,
    pub account: &'a Account,
    pub data_dir: &'a Path,
    /// The server's own, by their names in small letters.
    pub variables: &'a BTreeMap<String, String>,
    /// An empty directory for the tool's temporary files.
    pub scratch: &'a Path,
    /// How long the tool may wait for the server's locks.
    pub lock_wait: Duration,
    /// How many tables it copies at a time.
    pub threads: u16,
    /// What the tool may have open.
    pub descriptors: Descriptors,
    /// Of the data directory's files, on average.
    pub mean_file_bytes: u64,
    /// Whether the backup is to say where its server's source is.
    pub of_replica: bool,
}

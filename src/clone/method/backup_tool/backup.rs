//! The parameters of a backup.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::model::host::HostPort;
use crate::server::account::Account;
use crate::sys::limits::Descriptors;

/// The parameters of a backup.
pub struct Backup<'a> {
    pub server: &'a HostPort,
    pub account: &'a Account,
    pub data_dir: &'a Path,
    /// The server's variables, by their names in lower case.
    pub variables: &'a BTreeMap<String, String>,
    /// An empty directory for the tool's temporary files.
    pub scratch: &'a Path,
    /// How long the tool may wait for the server's locks.
    pub lock_wait: Duration,
    /// Number of tables copied at a time.
    pub threads: u16,
    /// The tool's limit on open files.
    pub descriptors: Descriptors,
    /// Average length of the data directory's files.
    pub mean_file_bytes: u64,
    /// Whether the backup must record its server's position at the source.
    pub of_replica: bool,
}

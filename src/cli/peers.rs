//! Flags that both ends of a clone must agree on.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::seconds;

/// What both ends of a clone must agree on.
#[derive(Args, Debug)]
pub struct PeerArgs {
    /// Name of the headless service, by which pods know each other: mysql-0.SERVICE.
    #[arg(long, env = "MYSQLSET_SERVICE", default_value = "mysql", value_name = "NAME")]
    pub service: String,

    /// File with the secret that donor and recipient must share (or MYSQLSET_CLONE_SECRET).
    #[arg(long, env = "MYSQLSET_CLONE_SECRET_FILE", value_name = "FILE")]
    pub clone_secret_file: Option<PathBuf>,

    /// How a clone is made.
    #[arg(long, env = "MYSQLSET_METHOD", value_enum, default_value = "auto")]
    pub method: Method,

    /// Silence after which a peer counts as gone, in seconds.
    #[arg(long, env = "MYSQLSET_STALL_TIMEOUT", default_value_t = 30, value_name = "SECONDS",
          value_parser = seconds::some())]
    pub stall_timeout: u64,

    /// Pack clones with zstd on the wire, where both ends say "auto" or "on"; the donor's word decides which. "auto"
    /// packs where that turns out to be quicker.
    #[arg(long, env = "MYSQLSET_WIRE_COMPRESSION", value_enum, default_value = "off")]
    pub wire_compression: WireCompression,
}

/// How a clone is made.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// By a backup tool where there is one that fits the server, else by MySQL's CLONE plugin.
    #[default]
    Auto,
    /// By XtraBackup or mariadb-backup.
    BackupTool,
    /// By MySQL's CLONE plugin, since MySQL 8.0.17.
    ClonePlugin,
}

/// Whether clones are packed on the wire.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WireCompression {
    /// Never.
    #[default]
    Off,
    /// Where it is measured to be quicker.
    Auto,
    /// Always.
    On,
}

//! Flags that every command takes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// What every command takes.
#[derive(Args, Debug)]
pub struct ProcessArgs {
    /// This pod's name; the machine's hostname where not given.
    #[arg(long, global = true, env = "MYSQLSET_HOSTNAME", value_name = "NAME")]
    pub hostname: Option<String>,

    /// How log lines look.
    #[arg(long, global = true, env = "MYSQLSET_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,

    /// What is logged: error, warn, info, debug or trace, also by module, as in "info,mysqlset::donor=debug".
    #[arg(long, global = true, env = "MYSQLSET_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,

    /// Where the reason of a failure is left for Kubernetes.
    #[arg(
        long,
        global = true,
        env = "MYSQLSET_TERMINATION_LOG",
        default_value = "/dev/termination-log",
        value_name = "FILE"
    )]
    pub termination_log: PathBuf,
}

/// The form of log lines.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

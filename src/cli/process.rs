//! Flags that every command takes.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use super::heading;
use crate::model::ordinal::Member;
use crate::observe::logging::Format;

/// What every command takes.
#[derive(Args, Debug)]
pub struct ProcessArgs {
    /// Name of this pod. By default it is the machine's hostname.
    #[arg(long, global = true, help_heading = heading::PROCESS, env = "MYSQLSET_HOSTNAME", value_name = "NAME")]
    pub hostname: Option<String>,

    /// Format of log lines.
    #[arg(
        long,
        global = true,
        help_heading = heading::PROCESS,
        env = "MYSQLSET_LOG_FORMAT",
        value_enum,
        default_value = "text",
    )]
    pub log_format: Format,

    /// Log filter: error, warn, info, debug or trace, also by module, as in "info,mysqlset::clone::donor=debug".
    #[arg(
        long,
        global = true,
        help_heading = heading::PROCESS,
        env = "MYSQLSET_LOG",
        default_value = "info",
        value_name = "FILTER",
    )]
    pub log: String,

    /// File that receives the reason of a failure, for Kubernetes.
    #[arg(
        long,
        global = true,
        help_heading = heading::PROCESS,
        env = "MYSQLSET_TERMINATION_LOG",
        default_value = "/dev/termination-log",
        value_name = "FILE",
    )]
    pub termination_log: PathBuf,
}

impl ProcessArgs {
    /// The pod's place in its set.
    pub fn member(&self) -> Result<Member> {
        match &self.hostname {
            Some(name) => Member::from_hostname(name),
            None => {
                let name = hostname::get().context("reading the hostname")?;
                Member::from_hostname(&name.to_string_lossy())
            }
        }
    }
}

//! Flags that every command takes.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::model::ordinal::Member;
use crate::observe::logging::Format;

/// What every command takes.
#[derive(Args, Debug)]
pub struct ProcessArgs {
    /// This pod's name; the machine's hostname where not given.
    #[arg(long, global = true, env = "MYSQLSET_HOSTNAME", value_name = "NAME")]
    pub hostname: Option<String>,

    /// How log lines look.
    #[arg(long, global = true, env = "MYSQLSET_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: Format,

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

impl ProcessArgs {
    /// The pod's place in its set.
    pub fn member(&self) -> Result<Member> {
        match &self.hostname {
            Some(name) => Member::from_hostname(name),
            None => {
                let name = hostname::get().context("asking the machine for its hostname")?;
                Member::from_hostname(&name.to_string_lossy())
            }
        }
    }
}

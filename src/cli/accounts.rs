//! The accounts that the set makes for itself.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};

/// The accounts that the set makes for itself.
#[derive(Args, Debug)]
pub struct ManagedArgs {
    /// On the primary, make the accounts for backup, replication and monitoring with the privileges that they need, and set
    /// their passwords, and root's, to those given whenever one changes.
    #[arg(long, env = "MYSQLSET_MANAGE_ACCOUNTS", action = ArgAction::SetTrue, value_parser = BoolishValueParser::new())]
    pub manage_accounts: bool,

    /// Account to be made for whoever watches the servers.
    #[arg(long, env = "MYSQLSET_MONITORING_USER", default_value = "monitoring", value_name = "NAME")]
    pub monitoring_user: String,

    /// File with its password (or MYSQLSET_MONITORING_PASSWORD); without one there is no such account.
    #[arg(long, env = "MYSQLSET_MONITORING_PASSWORD_FILE", value_name = "FILE")]
    pub monitoring_password_file: Option<PathBuf>,

    /// File with the password that root shall have (or MYSQLSET_ROOT_PASSWORD); without one it is left alone.
    #[arg(long, env = "MYSQLSET_ROOT_PASSWORD_FILE", value_name = "FILE")]
    pub root_password_file: Option<PathBuf>,
}

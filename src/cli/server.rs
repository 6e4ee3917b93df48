//! The server in this pod.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::accounts::account;
use crate::model::host::{HostPort, host};
use crate::server::account::Account;

/// The server in this pod, and who `mysqlset` is there.
#[derive(Args, Debug)]
pub struct ServerArgs {
    /// Address of the local server.
    #[arg(long, env = "MYSQLSET_SERVER_HOST", default_value = "127.0.0.1", value_name = "HOST")]
    pub server_host: String,

    /// Port of the local server.
    #[arg(long, env = "MYSQLSET_SERVER_PORT", default_value_t = 3306, value_name = "PORT")]
    pub server_port: u16,

    /// The local server's socket, through which the account for SQL is let in instead of over TCP: by a plugin that asks
    /// for no password, as whom this process runs.
    #[arg(long, env = "MYSQLSET_SERVER_SOCKET", value_name = "FILE")]
    pub server_socket: Option<PathBuf>,

    /// Account for the sidecar's own SQL on the local server.
    #[arg(long, env = "MYSQLSET_SQL_USER", default_value = "root", value_name = "NAME")]
    pub sql_user: String,

    /// File with its password (or MYSQLSET_SQL_PASSWORD).
    #[arg(long, env = "MYSQLSET_SQL_PASSWORD_FILE", value_name = "FILE")]
    pub sql_password_file: Option<PathBuf>,
}

impl ServerArgs {
    /// The server in this pod.
    pub fn server(&self) -> Result<HostPort> {
        Ok(HostPort { host: host("--server-host", &self.server_host)?, port: self.server_port })
    }

    /// The account for SQL on it.
    pub fn account(self) -> Result<Account> {
        let account = account(self.sql_user, self.sql_password_file, "MYSQLSET_SQL_PASSWORD")?;
        Ok(Account { socket: self.server_socket, ..account })
    }
}

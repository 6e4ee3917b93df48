//! An account on a server: one that `mysqlset` logs in with, or one that it creates.

use std::path::PathBuf;

use crate::sys::secret::Password;

/// A user name and its password on a server.
#[derive(Clone, Debug)]
pub struct Account {
    pub user: String,
    pub password: Password,
    /// The server's socket, where this account connects through it instead of TCP.
    pub socket: Option<PathBuf>,
}

/// The purpose of an account. It determines the privileges and the hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Root,
    Backup,
    Replication,
    Monitoring,
    /// Copies by MySQL's CLONE plugin.
    Plugin,
}

/// An account that the set creates for itself.
#[derive(Clone, Debug)]
pub struct ManagedAccount {
    pub purpose: Purpose,
    pub account: Account,
}

//! An account on a server: who `mysqlset` is there, and whom it makes there.

use std::path::PathBuf;

use crate::sys::secret::Password;

/// A user name and its password on a server.
#[derive(Clone, Debug)]
pub struct Account {
    pub user: String,
    pub password: Password,
    /// The server's socket, where that is how this account is let in instead of over TCP.
    pub socket: Option<PathBuf>,
}

/// What an account is for, from which follow its privileges and where it may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Root,
    Backup,
    Replication,
    Monitoring,
    /// Copies by MySQL's CLONE plugin.
    Plugin,
}

/// An account that the set makes for itself.
#[derive(Clone, Debug)]
pub struct ManagedAccount {
    pub purpose: Purpose,
    pub account: Account,
}

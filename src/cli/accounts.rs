//! The accounts that the set makes for itself.

use std::path::PathBuf;

use anyhow::Result;
use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};

use crate::model::exit::Reason;
use crate::server::account::{Account, ManagedAccount, Purpose};
use crate::sys::secret::Password;

/// The account that the servers' images make.
const ROOT: &str = "root";

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

impl ManagedArgs {
    /// Accounts that can be told from root, each with a password.
    pub fn accounts(self, backup: &Account, replication: &Account, sql: &Account) -> Result<Vec<ManagedAccount>> {
        if !self.manage_accounts {
            return Ok(Vec::new());
        }
        let own = |account: &Account, purpose, flag: &str| {
            if account.user == ROOT || account.password.current().is_empty() {
                return Err(Reason::Settings.error(format!(
                    "--manage-accounts makes an account of its own for {flag}: name it with --{flag}-user, and give it a \
                     password with --{flag}-password-file"
                )));
            }
            Ok(ManagedAccount { purpose, account: account.clone() })
        };
        let mut accounts =
            vec![own(backup, Purpose::Backup, "backup")?, own(replication, Purpose::Replication, "replication")?];
        let monitoring = account(self.monitoring_user, self.monitoring_password_file, "MYSQLSET_MONITORING_PASSWORD")?;
        if !monitoring.password.current().is_empty() {
            accounts.push(own(&monitoring, Purpose::Monitoring, "monitoring")?);
        }
        let root = account(ROOT.to_owned(), self.root_password_file, "MYSQLSET_ROOT_PASSWORD")?;
        if !root.password.current().is_empty() {
            accounts.push(ManagedAccount { purpose: Purpose::Root, account: root });
        }
        for (number, managed) in accounts.iter().enumerate() {
            let user = &managed.account.user;
            if accounts[..number].iter().any(|earlier| &earlier.account.user == user) {
                return Err(Reason::Settings.error(format!("--manage-accounts: {user:?} is named for two purposes")));
            }
            // Nobody could get in any more whose password was changed while nobody was there to change it.
            if &sql.user == user && sql.socket.is_none() {
                return Err(Reason::Settings.error(format!(
                    "--manage-accounts changes the password of {user:?}, which the sidecar itself uses: let it in through the \
                     server's socket (--server-socket), as another account"
                )));
            }
        }
        Ok(accounts)
    }
}

/// A user and its password, from a file or from a variable.
pub fn account(user: String, password_file: Option<PathBuf>, variable: &str) -> Result<Account> {
    let password = Password::read(password_file.as_deref(), variable)?.unwrap_or_default();
    Ok(Account { user, password, socket: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managed_accounts_are_each_their_own_and_none_is_the_sidecars() {
        let account = |user: &str, socket: Option<&str>| Account {
            user: user.into(),
            password: Password::fixed("geheim"),
            socket: socket.map(PathBuf::from),
        };
        let check = |backup: &str, replication: &str, sql: &Account| {
            let args = ManagedArgs {
                manage_accounts: true,
                monitoring_user: "monitoring".into(),
                monitoring_password_file: None,
                root_password_file: None,
            };
            args.accounts(&account(backup, None), &account(replication, None), sql).map(|accounts| accounts.len())
        };
        let own = account("mysql", Some("/run/mysqld/mysqld.sock"));
        assert_eq!(check("backup", "replication", &own).unwrap(), 2);
        assert!(check("root", "replication", &own).unwrap_err().to_string().contains("--backup-user"));
        assert!(check("one", "one", &own).unwrap_err().to_string().contains("two purposes"));
        let without = account("backup", None);
        assert!(check("backup", "replication", &without).unwrap_err().to_string().contains("--server-socket"));
    }
}

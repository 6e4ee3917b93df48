//! Accounts on servers, as flags and environment give them: who `mysqlset` is there, and whom it makes there.

use std::path::PathBuf;

use anyhow::Result;

use crate::cli::{ManagedArgs, ServerArgs};
use crate::model::exit::Reason;
use crate::server::account::{Account, ManagedAccount, Purpose};
use crate::sys::secret::Password;

/// The account that the servers' images make.
const ROOT: &str = "root";

pub fn sql_account(args: ServerArgs) -> Result<Account> {
    let account = account(args.sql_user, args.sql_password_file, "MYSQLSET_SQL_PASSWORD")?;
    Ok(Account { socket: args.server_socket, ..account })
}

pub fn account(user: String, password_file: Option<PathBuf>, variable: &str) -> Result<Account> {
    let password = Password::read(password_file.as_deref(), variable)?.unwrap_or_default();
    Ok(Account { user, password, socket: None })
}

/// Accounts that can be told from root, each with a password.
pub fn managed(
    args: ManagedArgs,
    backup: &Account,
    replication: &Account,
    sql: &Account,
) -> Result<Vec<ManagedAccount>> {
    if !args.manage_accounts {
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
    let monitoring = account(args.monitoring_user, args.monitoring_password_file, "MYSQLSET_MONITORING_PASSWORD")?;
    if !monitoring.password.current().is_empty() {
        accounts.push(own(&monitoring, Purpose::Monitoring, "monitoring")?);
    }
    let root = account(ROOT.to_owned(), args.root_password_file, "MYSQLSET_ROOT_PASSWORD")?;
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
            managed(args, &account(backup, None), &account(replication, None), sql).map(|accounts| accounts.len())
        };
        let own = account("mysql", Some("/run/mysqld/mysqld.sock"));
        assert_eq!(check("backup", "replication", &own).unwrap(), 2);
        assert!(check("root", "replication", &own).unwrap_err().to_string().contains("--backup-user"));
        assert!(check("one", "one", &own).unwrap_err().to_string().contains("two purposes"));
        let without = account("backup", None);
        assert!(check("backup", "replication", &without).unwrap_err().to_string().contains("--server-socket"));
    }
}

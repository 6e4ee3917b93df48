//! Accounts and their privileges, in each server's words.
//!
//! Privileges are the least that each needs: of the backup tools by their documentation (MariaDB knowledge base,
//! "mariadb-backup overview"; Percona XtraBackup, "Connection and privileges needed"), of replication and monitoring by
//! the servers'.

use std::fmt::Write;

use sha1::{Digest, Sha1};
use zeroize::Zeroize;

use super::dialect::{Dialect, Statement};
use super::{literal, secret_literal};
use crate::server::account::Purpose;
use crate::sys::secret::Secret;

/// The local server's own addresses: what needs to come from nowhere else.
const HERE: [&str; 2] = ["127.0.0.1", "::1"];

/// All databases' all tables.
const EVERYTHING: &str = "*.*";

/// Of accounts whose passwords are changed by their Secret alone; a server's default_password_lifetime would have them expire.
const NEVER_EXPIRES: &str = "PASSWORD EXPIRE NEVER";

/// Any host.
const ANYWHERE: &str = "%";

impl Dialect {
    /// Makes an account where there is none, with the privileges that it needs, and gives it this password. Of root, which is
    /// there, only the password is set. The password comes last, for all hosts at once: an account that has it has all,
    /// whatever was killed when. Until then a new one has one that nobody knows.
    pub fn keep_account(
        self,
        purpose: Purpose,
        user: &str,
        hosts: &[String],
        password: &Secret,
        unknown: &Secret,
    ) -> Vec<Statement> {
        let accounts: Vec<String> = hosts.iter().map(|host| account(user, host)).collect();
        let mut statements = Vec::new();
        for account in accounts.iter().filter(|_| purpose != Purpose::Root) {
            statements.push(create_user(account, &self.identified_by(unknown)));
            for (privileges, on) in self.privileges(purpose) {
                statements.push(Statement::new(format!("GRANT {privileges} ON {on} TO {account}"), "GRANT"));
            }
        }
        let proof = self.identified_by(password);
        let changes: Vec<Secret> =
            accounts.iter().map(|account| Secret::joined(&[account, " ", proof.reveal()])).collect();
        if !changes.is_empty() {
            let lasts = if purpose == Purpose::Root { String::new() } else { format!(" {NEVER_EXPIRES}") };
            statements.push(alter_user(&Secret::separated(&changes, ", "), &lasts));
        }
        statements
    }

    /// The same on a server that wants to see each password (MariaDB's `strict_password_validation`), in steps. First the
    /// account gets a password that is good for nothing: the binary log has it in clear text. Then the account itself, with
    /// [`Self::set_own_password`], sets the right one, which is logged as its hash only, and gets its [`Self::grants`]. One
    /// of the same name from another host can't do so, and goes.
    pub fn open_account_strictly(self, purpose: Purpose, user: &str, unknown: &Secret) -> Vec<Statement> {
        let by_password = identified_by_text(unknown);
        let open = |host: String| {
            let account = account(user, &host);
            let changed = Secret::joined(&[&account, " ", by_password.reveal()]);
            [create_user(&account, &by_password), alter_user(&changed, &format!(" {NEVER_EXPIRES}"))]
        };
        self.hosts(purpose).into_iter().flat_map(open).collect()
    }

    /// The privileges of one account.
    pub fn grants(self, purpose: Purpose, user: &str, host: &str) -> Vec<Statement> {
        let account = account(user, host);
        let grant = |(privileges, on): (&str, &str)| format!("GRANT {privileges} ON {on} TO {account}");
        self.privileges(purpose).into_iter().map(|privilege| Statement::new(grant(privilege), "GRANT")).collect()
    }

    /// Takes one account away.
    pub fn drop_account_at(user: &str, host: &str) -> Statement {
        Statement::new(format!("DROP USER IF EXISTS {}", account(user, host)), "DROP USER")
    }

    /// Has `init_connect` not run for an account, and gives it a place where `max_connections` are used up. The privilege also
    /// allows to end other accounts' sessions, and MariaDB's to set `init_connect`, which others run as themselves: of the
    /// accounts that come from elsewhere only the CLONE plugin's gets it, as MySQL's manual has it for one that clones.
    /// (MariaDB knowledge base, "GRANT"; MySQL reference manual, "User Credentials For Distributed Recovery".)
    pub fn exempt_account(self, purpose: Purpose, user: &str) -> Vec<Statement> {
        let privilege = match (self, purpose) {
            (Dialect::Mariadb, Purpose::Backup) => "CONNECTION ADMIN",
            (Dialect::Mysql { version }, Purpose::Backup | Purpose::Plugin) if version >= (8, 0, 0) => {
                "CONNECTION_ADMIN"
            }
            _ => return Vec::new(),
        };
        let grant = |host: String| format!("GRANT {privilege} ON {EVERYTHING} TO {}", account(user, &host));
        self.hosts(purpose).into_iter().map(|host| Statement::new(grant(host), "GRANT")).collect()
    }

    /// Sets the password of the account that says it. (MariaDB only.)
    pub fn set_own_password(password: &Secret) -> Statement {
        let password = secret_literal(password);
        Statement::with_password(Secret::joined(&["SET PASSWORD = PASSWORD(", password.reveal(), ")"]), "SET PASSWORD")
    }

    /// Asks an account what it was created as, itself included in what it may see.
    pub fn show_own_account() -> &'static str {
        "SHOW CREATE USER CURRENT_USER()"
    }

    /// Whether the answer says that the password lasts.
    pub fn never_expires(created_as: &str) -> bool {
        created_as.contains(NEVER_EXPIRES)
    }

    /// The first version whose statements for accounts are those used here, where a server's is older.
    pub fn too_old_to_keep_accounts(self, version: &str) -> Option<&'static str> {
        match self {
            Dialect::Mysql { version } => (version < (5, 7, 6)).then_some("MySQL 5.7.6"),
            Dialect::Mariadb => {
                let version = version.strip_prefix("5.5.5-").unwrap_or(version);
                let mut numbers = version.split(['.', '-']).map_while(|number| number.parse::<u16>().ok());
                let number = [numbers.next(), numbers.next(), numbers.next()].map(Option::unwrap_or_default);
                (number < [10, 4, 3]).then_some("MariaDB 10.4.3")
            }
        }
    }

    /// Asks whether there is an account of this name, from wherever.
    pub fn knows_user(user: &str) -> String {
        format!("SELECT 1 FROM mysql.user WHERE User = {} LIMIT 1", literal(user))
    }

    /// Takes an account away.
    pub fn drop_account(self, purpose: Purpose, user: &str) -> Vec<Statement> {
        self.hosts(purpose).iter().map(|host| Self::drop_account_at(user, host)).collect()
    }

    /// Whether an account has the privileges that it needs, by what it says of itself in `SHOW GRANTS`.
    pub fn has_privileges(self, purpose: Purpose, grants: &[String]) -> bool {
        self.privileges(purpose).iter().all(|(privileges, on)| {
            let granted: Vec<&str> = grants
                .iter()
                .filter_map(|grant| granted_on(grant, on))
                .flat_map(|list| list.split(',').map(str::trim))
                .collect();
            privileges
                .split(", ")
                .all(|privilege| granted.iter().any(|one| *one == privilege || *one == "ALL PRIVILEGES"))
        })
    }

    /// Where an account that we make comes from; root's places are asked for, by [`Self::hosts_of_root`].
    pub fn hosts(self, purpose: Purpose) -> Vec<String> {
        match purpose {
            Purpose::Backup => HERE.map(str::to_owned).to_vec(),
            Purpose::Replication | Purpose::Monitoring | Purpose::Plugin => vec![ANYWHERE.to_owned()],
            Purpose::Root => Vec::new(),
        }
    }

    /// Asks where root may come from.
    pub fn hosts_of_root(self) -> &'static str {
        "SELECT Host FROM mysql.user WHERE User = 'root' ORDER BY Host"
    }

    /// Lists of privileges, each with what it is on.
    fn privileges(self, purpose: Purpose) -> Vec<(&'static str, &'static str)> {
        let privileges: &[(&str, &str)] = match (self, purpose) {
            (_, Purpose::Root) => &[],
            (_, Purpose::Plugin) => &[("BACKUP_ADMIN", EVERYTHING)],
            (_, Purpose::Replication) => &[("REPLICATION SLAVE", EVERYTHING)],
            (Dialect::Mariadb, Purpose::Backup) => {
                &[("RELOAD, PROCESS, LOCK TABLES, BINLOG MONITOR, SLAVE MONITOR", EVERYTHING)]
            }
            (Dialect::Mysql { version }, Purpose::Backup) if version >= (8, 0, 0) => &[
                ("BACKUP_ADMIN, RELOAD, PROCESS, LOCK TABLES, REPLICATION CLIENT", EVERYTHING),
                ("SELECT", "performance_schema.log_status"),
                ("SELECT", "performance_schema.keyring_component_status"),
                ("SELECT", "performance_schema.replication_group_members"),
            ],
            (Dialect::Mysql { .. }, Purpose::Backup) => {
                &[("RELOAD, PROCESS, LOCK TABLES, REPLICATION CLIENT", EVERYTHING)]
            }
            (Dialect::Mariadb, Purpose::Monitoring) => {
                &[("PROCESS, BINLOG MONITOR, SLAVE MONITOR", EVERYTHING), ("SELECT", "performance_schema.*")]
            }
            (Dialect::Mysql { .. }, Purpose::Monitoring) => {
                &[("PROCESS, REPLICATION CLIENT", EVERYTHING), ("SELECT", "performance_schema.*")]
            }
        };
        privileges.to_vec()
    }

    /// MariaDB writes such statements into its binary log as they are, MySQL without the password (reference manual,
    /// "Passwords and Logging"): MariaDB gets what it keeps of a password, and never sees the password itself.
    fn identified_by(self, password: &Secret) -> Secret {
        match self {
            Dialect::Mariadb => {
                Secret::joined(&["IDENTIFIED VIA mysql_native_password USING '", native_hash(password).reveal(), "'"])
            }
            Dialect::Mysql { .. } => identified_by_text(password),
        }
    }
}

fn identified_by_text(password: &Secret) -> Secret {
    Secret::joined(&["IDENTIFIED BY ", secret_literal(password).reveal()])
}

fn create_user(account: &str, proof: &Secret) -> Statement {
    let pieces = ["CREATE USER IF NOT EXISTS ", account, " ", proof.reveal(), " ", NEVER_EXPIRES];
    Statement::with_password(Secret::joined(&pieces), "CREATE USER")
}

fn alter_user(changes: &Secret, lasts: &str) -> Statement {
    Statement::with_password(Secret::joined(&["ALTER USER ", changes.reveal(), lasts]), "ALTER USER")
}

/// The list of a grant that is on something; servers quote names.
fn granted_on<'a>(grant: &'a str, on: &str) -> Option<&'a str> {
    let (list, rest) = grant.strip_prefix("GRANT ")?.split_once(" ON ")?;
    let there = rest.split(" TO ").next()?.replace('`', "");
    (there == on).then_some(list)
}

fn account(user: &str, host: &str) -> String {
    format!("{}@{}", literal(user), literal(host))
}

/// What `PASSWORD()` makes of it: an asterisk and the hexadecimal SHA-1 of its SHA-1.
fn native_hash(password: &Secret) -> Secret {
    let mut once = Sha1::digest(password.reveal());
    let mut text = String::with_capacity(1 + 2 * once.len());
    text.push('*');
    for byte in Sha1::digest(once) {
        let _ = write!(text, "{byte:02X}");
    }
    once.as_mut_slice().zeroize();
    Secret::new(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(dialect: Dialect, purpose: Purpose) -> Vec<String> {
        let hosts = dialect.hosts(purpose);
        let statements = dialect.keep_account(purpose, "it's", &hosts, &Secret::new("password"), &Secret::new("x"));
        statements.iter().map(|statement| statement.text().to_owned()).collect()
    }

    #[test]
    fn mariadb_never_sees_a_password() {
        // SELECT PASSWORD('password')
        let proof = "IDENTIFIED VIA mysql_native_password USING '*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19'";
        let texts = texts(Dialect::Mariadb, Purpose::Backup);
        assert!(
            texts[0].starts_with("CREATE USER IF NOT EXISTS 'it''s'@'127.0.0.1' IDENTIFIED VIA mysql_native_password")
        );
        assert_eq!(
            texts[1],
            "GRANT RELOAD, PROCESS, LOCK TABLES, BINLOG MONITOR, SLAVE MONITOR ON *.* TO 'it''s'@'127.0.0.1'"
        );
        assert!(texts[2].starts_with("CREATE USER IF NOT EXISTS 'it''s'@'::1' "), "{}", texts[2]);
        let change = format!("ALTER USER 'it''s'@'127.0.0.1' {proof}, 'it''s'@'::1' {proof} PASSWORD EXPIRE NEVER");
        assert_eq!(texts[4], change, "the password comes last");
        assert_eq!(texts.len(), 5);
    }

    #[test]
    fn mysql_by_its_version() {
        let of = |version| texts(Dialect::Mysql { version }, Purpose::Backup);
        let proof = "IDENTIFIED BY 'password'";
        let change = format!("ALTER USER 'it''s'@'127.0.0.1' {proof}, 'it''s'@'::1' {proof} PASSWORD EXPIRE NEVER");
        assert_eq!(of((8, 4, 0)).last(), Some(&change));
        assert!(of((8, 4, 0))[1].starts_with("GRANT BACKUP_ADMIN"));
        assert!(of((5, 7, 44))[1].starts_with("GRANT RELOAD"));
        assert_eq!(texts(Dialect::Mysql { version: (8, 4, 0) }, Purpose::Replication).len(), 3);
    }

    #[test]
    fn roots_password_is_set_and_nothing_else() {
        let hosts = ["%".to_owned(), "localhost".to_owned()];
        let statements =
            Dialect::Mariadb.keep_account(Purpose::Root, "root", &hosts, &Secret::new("x"), &Secret::new("y"));
        let [statement] = &statements[..] else { panic!("{statements:?}") };
        let start = "ALTER USER 'root'@'%' IDENTIFIED VIA mysql_native_password USING '*";
        assert!(
            statement.text().starts_with(start) && statement.text().contains("', 'root'@'localhost' "),
            "{}",
            statement.text()
        );
    }

    #[test]
    fn servers_without_the_statements_are_known() {
        let mysql = |version| Dialect::Mysql { version }.too_old_to_keep_accounts("");
        assert_eq!(mysql((5, 6, 51)), Some("MySQL 5.7.6"));
        assert_eq!(mysql((5, 7, 44)), None);
        let mariadb = |version| Dialect::Mariadb.too_old_to_keep_accounts(version);
        assert_eq!(mariadb("10.3.39-MariaDB-log"), Some("MariaDB 10.4.3"));
        for version in ["5.5.5-10.6.12-MariaDB", "10.11.19-MariaDB-0+deb12u1-log", "12.3.1-MariaDB"] {
            assert_eq!(mariadb(version), None, "{version}");
        }
    }

    #[test]
    fn a_strict_server_logs_no_password_that_is_good_for_anything() {
        let open = Dialect::Mariadb.open_account_strictly(Purpose::Backup, "backup", &Secret::new("unknown"));
        let grant = Dialect::Mariadb.grants(Purpose::Backup, "backup", "127.0.0.1");
        assert!(open.iter().all(|statement| statement.text().contains("'unknown'")), "{open:?}");
        assert!(open.iter().all(|statement| !statement.text().contains("GRANT")), "{open:?}");
        assert!(grant.iter().all(|statement| statement.text().starts_with("GRANT ")), "{grant:?}");
    }

    #[test]
    fn accounts_from_elsewhere_get_no_power_over_others() {
        let exempt = |dialect: Dialect, purpose| {
            let statements = dialect.exempt_account(purpose, "a");
            statements.iter().map(|statement| statement.text().to_owned()).collect::<Vec<_>>()
        };
        let here = ["127.0.0.1", "::1"].map(|host| format!("GRANT CONNECTION ADMIN ON *.* TO 'a'@'{host}'"));
        assert_eq!(exempt(Dialect::Mariadb, Purpose::Backup), here);
        for purpose in [Purpose::Replication, Purpose::Monitoring, Purpose::Root] {
            assert!(exempt(Dialect::Mariadb, purpose).is_empty());
            assert!(exempt(Dialect::Mysql { version: (8, 4, 0) }, purpose).is_empty());
        }
        let mysql = |version| exempt(Dialect::Mysql { version }, Purpose::Plugin);
        assert_eq!(mysql((8, 4, 0)), ["GRANT CONNECTION_ADMIN ON *.* TO 'a'@'%'"]);
        assert!(mysql((5, 7, 44)).is_empty());
    }

    #[test]
    fn what_an_account_says_of_itself_is_compared() {
        let monitoring = |grants: &[&str]| {
            let grants: Vec<String> = grants.iter().map(|grant| (*grant).to_owned()).collect();
            Dialect::Mariadb.has_privileges(Purpose::Monitoring, &grants)
        };
        let global = "GRANT PROCESS, BINLOG MONITOR, SLAVE MONITOR ON *.* TO `m`@`%` IDENTIFIED BY PASSWORD '*00'";
        let schema = "GRANT SELECT ON `performance_schema`.* TO `m`@`%`";
        assert!(monitoring(&[global, schema]));
        assert!(!monitoring(&[global]));
        assert!(!monitoring(&[&global.replace("BINLOG MONITOR, ", ""), schema]));
        assert!(!monitoring(&["GRANT USAGE ON *.* TO `m`@`%`", schema]));
        // MySQL writes its dynamic privileges without a space between them.
        let plugin = ["GRANT BACKUP_ADMIN,CONNECTION_ADMIN ON *.* TO `c`@`%`".to_owned()];
        assert!(Dialect::Mysql { version: (9, 7, 0) }.has_privileges(Purpose::Plugin, &plugin));
    }
}

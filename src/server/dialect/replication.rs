//! Statements about replication, in each server's words.

use super::Dialect;
use crate::model::host::HostPort;
use crate::model::position::Position;
use crate::server::account::Account;
use crate::server::literals::{literal, secret_literal};
use crate::server::statement::Statement;
use crate::sys::secret::Secret;

impl Dialect {
    /// Asks for the state of replication.
    pub fn show_status(self) -> &'static str {
        if self.says_replica() { "SHOW REPLICA STATUS" } else { "SHOW SLAVE STATUS" }
    }

    /// Asks for the end of the binary log, and what it leaves out.
    pub fn show_log_state(self) -> &'static str {
        match self {
            Dialect::Mysql { version } if version >= (8, 2, 0) => "SHOW BINARY LOG STATUS",
            _ => "SHOW MASTER STATUS",
        }
    }

    /// Starts the thread that fetches the source's log.
    pub fn start_receiver(self) -> Statement {
        self.of_thread("START", "IO_THREAD")
    }

    /// Stops it; no error where it doesn't run.
    pub fn stop_receiver(self) -> Statement {
        self.of_thread("STOP", "IO_THREAD")
    }

    /// Starts the thread that applies what was fetched.
    pub fn start_applier(self) -> Statement {
        self.of_thread("START", "SQL_THREAD")
    }

    fn of_thread(self, verb: &'static str, thread: &'static str) -> Statement {
        let what =
            if verb == "START" { "starting a thread of replication" } else { "stopping a thread of replication" };
        let noun = if self.says_replica() { "REPLICA" } else { "SLAVE" };
        Statement::new(format!("{verb} {noun} {thread}"), what)
    }

    /// Stops both threads; no error where none runs.
    pub fn stop(self) -> Statement {
        if self.says_replica() {
            Statement::new("STOP REPLICA", "STOP REPLICA")
        } else {
            Statement::new("STOP SLAVE", "STOP SLAVE")
        }
    }

    /// Forgets the source that came with copied data, and its relay logs.
    pub fn forget_source(self) -> Statement {
        if self.says_replica() {
            Statement::new("RESET REPLICA ALL", "RESET REPLICA ALL")
        } else {
            Statement::new("RESET SLAVE ALL", "RESET SLAVE ALL")
        }
    }

    /// The query for the GTID position that the server has reached, in the form that [`Position`] carries.
    pub fn reached_gtid(self) -> &'static str {
        match self {
            Dialect::Mariadb => "SELECT @@GLOBAL.gtid_slave_pos",
            Dialect::Mysql { .. } => "SELECT @@GLOBAL.gtid_executed",
        }
    }

    /// A position of that form.
    pub fn position_by_gtid(self, gtid: String) -> Position {
        match self {
            Dialect::Mariadb => Position::MariadbGtid { slave_pos: gtid },
            Dialect::Mysql { .. } => Position::MysqlGtid { executed: gtid },
        }
    }

    /// Whether its replicas can always go by GTID, whatever a backup of it says. MySQL's can where it is turned on.
    pub fn is_always_by_gtid(self) -> bool {
        self == Dialect::Mariadb
    }

    /// The query by which a source tells the GTID position of a place in its log; `None` where none does.
    pub fn gtid_at(self, file: &str, offset: u64) -> Option<String> {
        (self == Dialect::Mariadb).then(|| format!("SELECT BINLOG_GTID_POS({}, {offset})", literal(file)))
    }

    /// Declares which transactions the data hold.
    pub fn set_reached_gtid(self, position: &Position) -> Vec<Statement> {
        match position {
            Position::BinlogFile { .. } => Vec::new(),
            Position::MariadbGtid { slave_pos } => {
                let text = format!("SET GLOBAL gtid_slave_pos = {}", literal(slave_pos));
                vec![Statement::new(text, "SET GLOBAL gtid_slave_pos")]
            }
            Position::MysqlGtid { executed } => {
                let text = format!("SET GLOBAL gtid_purged = {}", literal(executed));
                vec![self.forget_own_history(), Statement::new(text, "SET GLOBAL gtid_purged")]
            }
        }
    }

    /// Makes a position the beginning of an empty binary log, as if what lies before it had been purged.
    pub fn begin_log_at(self, position: &Position) -> Vec<Statement> {
        match position {
            Position::MariadbGtid { slave_pos } => {
                let text = format!("SET GLOBAL gtid_binlog_state = {}", literal(slave_pos));
                let mut statements = self.set_reached_gtid(position);
                statements.push(Statement::new(text, "SET GLOBAL gtid_binlog_state"));
                statements
            }
            Position::MysqlGtid { .. } | Position::BinlogFile { .. } => self.set_reached_gtid(position),
        }
    }

    /// `gtid_purged` can only be set while nothing was executed.
    fn forget_own_history(self) -> Statement {
        match self {
            Dialect::Mysql { version } if version >= (8, 4, 0) => {
                Statement::new("RESET BINARY LOGS AND GTIDS", "RESET BINARY LOGS AND GTIDS")
            }
            _ => Statement::new("RESET MASTER", "RESET MASTER"),
        }
    }

    /// Points the server at its source, from `position` where that is a file and offset, else by GTID.
    pub fn change_source(self, source: &HostPort, account: &Account, position: &Position) -> Statement {
        let word = if self.says_replica() { "SOURCE" } else { "MASTER" };
        let password = secret_literal(&account.password.current());
        let place = format!(
            " TO {word}_HOST = {}, {word}_PORT = {}, {word}_USER = {}, {word}_PASSWORD = ",
            literal(&source.host),
            source.port,
            literal(&account.user)
        );
        // The servers' default is a minute, in which a restarted primary's replicas would stand still.
        let mut settings = vec![format!("{word}_CONNECT_RETRY = 5")];
        settings.extend(self.retries(word));
        settings.extend(self.public_key(word));
        settings.extend(self.certificate(account));
        match position {
            Position::BinlogFile { file, offset } => {
                settings.push(format!("{word}_LOG_FILE = {}", literal(file)));
                settings.push(format!("{word}_LOG_POS = {offset}"));
                settings.push(self.use_gtid(word, false));
            }
            Position::MariadbGtid { .. } | Position::MysqlGtid { .. } => settings.push(self.use_gtid(word, true)),
        }
        let settings = settings.join(", ");
        let text = |verb: &str| Secret::joined(&[verb, &place, password.reveal(), ", ", &settings]);
        if self.says_replica() {
            Statement::with_password(text("CHANGE REPLICATION SOURCE"), "CHANGE REPLICATION SOURCE TO …")
        } else {
            Statement::with_password(text("CHANGE MASTER"), "CHANGE MASTER TO …")
        }
    }

    /// The longest password that the server takes for its source, in characters. (MariaDB, "MASTER_PASSWORD"; MySQL reference
    /// manual, "CHANGE REPLICATION SOURCE TO Statement")
    pub fn longest_source_password(self) -> usize {
        match self {
            Dialect::Mariadb => 96,
            Dialect::Mysql { .. } => 32,
        }
    }

    /// Sets the password for the source and what hangs on it, and nothing else: the position stays.
    pub fn change_password(self, account: &Account) -> Statement {
        let password = secret_literal(&account.password.current());
        if self.says_replica() {
            let text = Secret::joined(&["CHANGE REPLICATION SOURCE TO SOURCE_PASSWORD = ", password.reveal()]);
            Statement::with_password(text, "CHANGE REPLICATION SOURCE TO SOURCE_PASSWORD")
        } else {
            let certificate = self.certificate(account).map(|setting| format!(", {setting}")).unwrap_or_default();
            let text = Secret::joined(&["CHANGE MASTER TO MASTER_PASSWORD = ", password.reveal(), &certificate]);
            Statement::with_password(text, "CHANGE MASTER TO MASTER_PASSWORD")
        }
    }

    fn use_gtid(self, word: &str, by_gtid: bool) -> String {
        match (self, by_gtid) {
            (Dialect::Mariadb, true) => "MASTER_USE_GTID = slave_pos".to_owned(),
            (Dialect::Mariadb, false) => "MASTER_USE_GTID = no".to_owned(),
            (Dialect::Mysql { .. }, by_gtid) => format!("{word}_AUTO_POSITION = {}", u8::from(by_gtid)),
        }
    }

    /// MySQL gives up after so many tries (10 since 8.4); 0 is never. MariaDB has it as a server setting only.
    fn retries(self, word: &str) -> Option<String> {
        matches!(self, Dialect::Mysql { .. }).then(|| format!("{word}_RETRY_COUNT = 0"))
    }

    /// Accounts by caching_sha2_password, MySQL's default since 8.0, need it on a connection without TLS.
    fn public_key(self, word: &str) -> Option<String> {
        matches!(self, Dialect::Mysql { version } if version >= (8, 0, 4)).then(|| format!("GET_{word}_PUBLIC_KEY = 1"))
    }

    /// MariaDB's replicas ask for TLS from 11.4 on, and know their source's own certificate by the password that both have;
    /// without one they would never connect. Older ones ask for none. (MariaDB knowledge base, "Zero-configuration TLS")
    fn certificate(self, account: &Account) -> Option<String> {
        let is_unknown = self == Dialect::Mariadb && account.password.current().is_empty();
        is_unknown.then(|| "MASTER_SSL_VERIFY_SERVER_CERT = 0".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::secret::Password;

    fn source() -> (HostPort, Account) {
        let account = Account { user: "repl".into(), password: Password::fixed("it's"), socket: None };
        (HostPort { host: "mysql-0.mysql".into(), port: 3306 }, account)
    }

    fn mysql(major: u16, minor: u16, patch: u16) -> Dialect {
        Dialect::Mysql { version: (major, minor, patch) }
    }

    #[test]
    fn mariadb_by_gtid() {
        let (host, account) = source();
        let position = Position::MariadbGtid { slave_pos: "0-100-7".into() };
        assert_eq!(Dialect::Mariadb.set_reached_gtid(&position)[0].text(), "SET GLOBAL gtid_slave_pos = '0-100-7'");
        assert_eq!(
            Dialect::Mariadb.change_source(&host, &account, &position).text(),
            "CHANGE MASTER TO MASTER_HOST = 'mysql-0.mysql', MASTER_PORT = 3306, MASTER_USER = 'repl', \
             MASTER_PASSWORD = 'it''s', MASTER_CONNECT_RETRY = 5, MASTER_USE_GTID = slave_pos"
        );
    }

    /// A replica of MariaDB 11.4 or later would turn away from it ("SSL certificate is self-signed").
    #[test]
    fn mariadbs_source_without_a_password_needs_no_certificate() {
        let nobody = Account { user: "root".into(), password: Password::fixed(""), socket: None };
        let (host, account) = source();
        let position = Position::MariadbGtid { slave_pos: String::new() };
        let unverified = "MASTER_SSL_VERIFY_SERVER_CERT = 0";
        assert!(Dialect::Mariadb.change_source(&host, &nobody, &position).text().contains(unverified));
        assert!(Dialect::Mariadb.change_password(&nobody).text().ends_with(unverified));
        assert!(!Dialect::Mariadb.change_password(&account).text().contains("SSL"));
        assert!(!mysql(5, 7, 44).change_password(&nobody).text().contains("SSL"));
    }

    #[test]
    fn old_mysql_by_file() {
        let (host, account) = source();
        let position = Position::BinlogFile { file: "mysql-bin.000003".into(), offset: 1575 };
        assert_eq!(
            mysql(5, 7, 44).change_source(&host, &account, &position).text(),
            "CHANGE MASTER TO MASTER_HOST = 'mysql-0.mysql', MASTER_PORT = 3306, MASTER_USER = 'repl', \
             MASTER_PASSWORD = 'it''s', MASTER_CONNECT_RETRY = 5, MASTER_RETRY_COUNT = 0, \
             MASTER_LOG_FILE = 'mysql-bin.000003', MASTER_LOG_POS = 1575, MASTER_AUTO_POSITION = 0"
        );
        assert_eq!(mysql(8, 0, 22).start_receiver().text(), "START SLAVE IO_THREAD");
        assert_eq!(mysql(8, 0, 23).start_applier().text(), "START REPLICA SQL_THREAD");
    }

    #[test]
    fn new_mysql_by_gtid() {
        let (host, account) = source();
        let position = Position::MysqlGtid { executed: "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-9".into() };
        let statement = mysql(8, 4, 0).change_source(&host, &account, &position);
        let text = statement.text();
        assert!(text.starts_with("CHANGE REPLICATION SOURCE TO SOURCE_HOST = 'mysql-0.mysql'"), "{text}");
        assert!(text.ends_with("GET_SOURCE_PUBLIC_KEY = 1, SOURCE_AUTO_POSITION = 1"), "{text}");
        let statements = mysql(8, 4, 0).set_reached_gtid(&position);
        assert_eq!(statements[0].text(), "RESET BINARY LOGS AND GTIDS");
        assert_eq!(mysql(8, 0, 36).set_reached_gtid(&position)[0].text(), "RESET MASTER");
        assert_eq!(mysql(8, 0, 23).show_status(), "SHOW REPLICA STATUS");
    }

    #[test]
    fn a_password_never_stands_in_what_is_logged() {
        let (host, account) = source();
        let statement =
            Dialect::Mariadb.change_source(&host, &account, &Position::MariadbGtid { slave_pos: String::new() });
        assert!(!statement.what.contains("it"), "{}", statement.what);
    }
}

//! What each server of the family calls things.
//!
//! | server | statements | columns | GTID |
//! |---|---|---|---|
//! | MariaDB | `CHANGE MASTER TO`, `START SLAVE`, `SHOW SLAVE STATUS` | `Master_Host` … | `gtid_slave_pos` |
//! | MySQL up to 8.0.22 | the same | the same | `gtid_purged` |
//! | MySQL from 8.0.23 | `CHANGE REPLICATION SOURCE TO`, `START REPLICA`, `SHOW REPLICA STATUS` | `Source_Host` … | `gtid_purged` |
//!
//! MySQL 8.4 dropped the old words. (MySQL reference manual, "CHANGE REPLICATION SOURCE TO"; MariaDB knowledge base,
//! "CHANGE MASTER TO".)

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::aria::Tables;
use super::{literal, secret_literal};
use crate::model::host::HostPort;
use crate::model::position::Position;
use crate::server::account::Account;
use crate::sys::secret::Secret;

/// The latest series whose statements and words were tried here. MySQL counts by years from 26.1 on.
const LATEST_MYSQL: (u16, u16) = (9, 7);
const LATEST_MARIADB: (u16, u16) = (11, 8);

/// Before the version of MariaDB, so that clients of old take it for a MySQL that they know.
const REPLICATION_PREFIX: &str = "5.5.5-";

/// 8.0.23 as (8, 0, 23); 26.1 as (26, 1, 0).
fn numbers(version: &str) -> Option<(u16, u16, u16)> {
    let end = version.find(|character: char| !character.is_ascii_digit() && character != '.');
    let mut numbers = version[..end.unwrap_or(version.len())].split('.').map(|number| number.parse::<u16>().ok());
    let (major, minor) = (numbers.next()??, numbers.next()??);
    let patch = numbers.next().map_or(Some(0), |patch| patch)?;
    Some((major, minor, patch))
}

/// How to talk to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Mariadb,
    Mysql {
        /// 8.0.23 as (8, 0, 23).
        version: (u16, u16, u16),
    },
}

/// A statement, and what stands for it in errors and logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    text: Secret,
    pub what: &'static str,
    /// Then a server's error text is not passed on: servers quote what they refuse.
    pub holds_password: bool,
}

impl Statement {
    pub fn new(text: impl Into<String>, what: &'static str) -> Statement {
        Statement { text: Secret::new(text), what, holds_password: false }
    }

    pub fn with_password(text: Secret, what: &'static str) -> Statement {
        Statement { text, what, holds_password: true }
    }

    /// For one that holds a password of which the server's errors say nothing.
    pub fn with_password_that_is_not_quoted(text: Secret, what: &'static str) -> Statement {
        Statement { text, what, holds_password: false }
    }

    /// For the server.
    pub fn text(&self) -> &str {
        self.text.reveal()
    }
}

impl Dialect {
    /// Recognises a program that needn't be asked: MariaDB's server, to which its packages link `mysqld`.
    pub fn of_program(program: &Path) -> Option<Dialect> {
        let leads_to = program.canonicalize().ok()?;
        (leads_to.file_name()? == "mariadbd").then_some(Dialect::Mariadb)
    }

    /// Recognises a server by `VERSION()`: `10.11.19-MariaDB-0+deb12u1`, `8.0.36`.
    pub fn of(version: &str) -> Result<Dialect> {
        if version.contains("MariaDB") {
            return Ok(Dialect::Mariadb);
        }
        let version = numbers(version)
            .ok_or_else(|| anyhow::anyhow!("{version:?}"))
            .context("the server's version makes no sense")?;
        Ok(Dialect::Mysql { version })
    }

    /// The latest series that is known here of this server's kind, where `version` is a later one: `26.1.0`,
    /// `12.3.2-MariaDB`. It is spoken to as the latest one that is known.
    pub fn known_before(self, version: &str) -> Option<String> {
        let version = version.strip_prefix(REPLICATION_PREFIX).unwrap_or(version);
        let (major, minor, _) = numbers(version)?;
        let known = match self {
            Dialect::Mariadb => LATEST_MARIADB,
            Dialect::Mysql { .. } => LATEST_MYSQL,
        };
        ((major, minor) > known).then(|| format!("{}.{}", known.0, known.1))
    }

    /// How many rows a statement must ask a table for to have its file opened: MySQL opens it when it reads the first.
    pub fn rows_to_open_a_file(self) -> u8 {
        match self {
            Dialect::Mariadb => 0,
            Dialect::Mysql { .. } => 1,
        }
    }

    /// Whether it lists tables with their engines without reading each definition.
    pub fn has_engines_in_dictionary(self) -> bool {
        matches!(self, Dialect::Mysql { version } if version >= (8, 0, 0))
    }

    fn says_replica(self) -> bool {
        matches!(self, Dialect::Mysql { version } if version >= (8, 0, 23))
    }

    /// Run once on each connection, so that literals mean what they say, and no setting of the server's cuts an answer short or
    /// refuses a statement.
    pub fn session_settings(self) -> [Statement; 2] {
        let time = match self {
            Dialect::Mariadb => ", max_statement_time = 0",
            Dialect::Mysql { version } if version >= (5, 7, 8) => ", max_execution_time = 0",
            Dialect::Mysql { .. } => "",
        };
        let text = format!(
            "SET SESSION sql_mode = '', autocommit = 1, wait_timeout = 28800, sql_select_limit = 18446744073709551615, sql_big_selects = 1, \
             sql_safe_updates = 0{time}"
        );
        let what = "setting up the session";
        [Statement::new(text, what), Statement::new("SET SESSION TRANSACTION READ WRITE", what)]
    }

    /// Has Aria's tables written out, here only. Gives up after `limit` where a statement keeps one open: whoever
    /// wants the table meanwhile waits too. (MariaDB only.)
    pub fn flush_aria(self, tables: &Tables, limit: Duration) -> Vec<Statement> {
        let tables = match tables {
            Tables::Named(names) if names.is_empty() => return Vec::new(),
            Tables::Named(names) => names.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
            Tables::All => String::new(),
        };
        vec![
            Statement::new(format!("SET SESSION lock_wait_timeout = {}", limit.as_secs()), "SET lock_wait_timeout"),
            Statement::new(format!("FLUSH NO_WRITE_TO_BINLOG TABLES {tables}"), "FLUSH TABLES"),
        ]
    }

    /// Keeps what a session changes out of the binary log, and in it again; `None` where a session need not. MySQL ends no waiting
    /// for a replica's acknowledgement when it is told to.
    pub fn log_session(self, logged: bool) -> Option<Statement> {
        let text = format!("SET SESSION sql_log_bin = {}", u8::from(logged));
        matches!(self, Dialect::Mysql { .. }).then(|| Statement::new(text, "SET sql_log_bin"))
    }

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
    fn mariadbs_server_is_known_by_what_a_link_leads_to() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("mariadbd"), "").unwrap();
        std::os::unix::fs::symlink("mariadbd", path("mysqld")).unwrap();
        std::fs::write(path("mysqld-8.4"), "").unwrap();
        std::os::unix::fs::symlink("mysqld-8.4", path("mysqld-link")).unwrap();
        assert_eq!(Dialect::of_program(&path("mysqld")), Some(Dialect::Mariadb));
        for other in ["mysqld-8.4", "mysqld-link", "missing"] {
            assert_eq!(Dialect::of_program(&path(other)), None, "{other}");
        }
    }

    #[test]
    fn servers_are_known_by_their_version() {
        assert_eq!(Dialect::of("10.11.19-MariaDB-0+deb12u1-log").unwrap(), Dialect::Mariadb);
        assert_eq!(Dialect::of("5.5.5-10.6.12-MariaDB").unwrap(), Dialect::Mariadb);
        assert_eq!(Dialect::of("8.0.36-28").unwrap(), mysql(8, 0, 36));
        assert_eq!(Dialect::of("5.7.44-log").unwrap(), mysql(5, 7, 44));
        // By years, with and without a third number.
        assert_eq!(Dialect::of("26.1.0").unwrap(), mysql(26, 1, 0));
        assert_eq!(Dialect::of("26.7-lts").unwrap(), mysql(26, 7, 0));
        assert_eq!(Dialect::of("12.3.2-MariaDB-log").unwrap(), Dialect::Mariadb);
        for nonsense in ["wonderful", "26", "8.x.1", "8.0.70000"] {
            assert!(Dialect::of(nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn versions_beyond_the_known_ones_are_told_from_those_that_are_known() {
        for (version, known) in [
            ("26.1.0", Some("9.7")),
            ("9.8.0", Some("9.7")),
            ("9.7.4-2", None),
            ("8.4.3", None),
            ("12.3.2-MariaDB-deb13", Some("11.8")),
            ("5.5.5-12.3.2-MariaDB", Some("11.8")),
            ("11.8.9-MariaDB", None),
            ("5.5.5-10.6.12-MariaDB", None),
        ] {
            assert_eq!(Dialect::of(version).unwrap().known_before(version).as_deref(), known, "{version}");
        }
    }

    #[test]
    fn no_setting_of_the_servers_cuts_an_answer_short() {
        for (dialect, time) in [
            (Dialect::Mariadb, Some("max_statement_time = 0")),
            (mysql(8, 0, 36), Some("max_execution_time = 0")),
            (mysql(5, 6, 51), None),
        ] {
            let [variables, transactions] = dialect.session_settings();
            assert!(variables.text().contains("sql_select_limit = 18446744073709551615"), "{}", variables.text());
            assert_eq!(variables.text().contains("max_"), time.is_some(), "{}", variables.text());
            assert!(time.is_none_or(|time| variables.text().contains(time)), "{}", variables.text());
            assert_eq!(transactions.text(), "SET SESSION TRANSACTION READ WRITE");
        }
    }

    #[test]
    fn only_aria_tables_are_flushed() {
        let limit = Duration::from_secs(5);
        let named = Tables::Named(["`app`.`a`".to_owned(), "`app`.`b`".to_owned()].into());
        let statements = Dialect::Mariadb.flush_aria(&named, limit);
        assert_eq!(statements[1].text(), "FLUSH NO_WRITE_TO_BINLOG TABLES `app`.`a`, `app`.`b`");
        assert_eq!(Dialect::Mariadb.flush_aria(&Tables::Named([].into()), limit), []);
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

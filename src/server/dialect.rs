//! The SQL dialects: each server's own statements, columns and variables.
//!
//! | server | statements | columns | GTID |
//! |---|---|---|---|
//! | MariaDB | `CHANGE MASTER TO`, `START SLAVE`, `SHOW SLAVE STATUS` | `Master_Host` … | `gtid_slave_pos` |
//! | MySQL up to 8.0.22 | the same | the same | `gtid_purged` |
//! | MySQL from 8.0.23 | `CHANGE REPLICATION SOURCE TO`, `START REPLICA`, `SHOW REPLICA STATUS` | `Source_Host` … | `gtid_purged` |
//!
//! MySQL 8.4 dropped the old keywords. (MySQL reference manual, `CHANGE REPLICATION SOURCE TO`; MariaDB knowledge base,
//! `CHANGE MASTER TO`.)

mod replication;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::aria::Tables;
pub use super::statement::Statement;

/// The latest series whose statements were tested here. MySQL numbers its versions by years from 26.1 on.
const LATEST_MYSQL: (u16, u16) = (9, 7);
const LATEST_MARIADB: (u16, u16) = (11, 8);

/// A prefix of MariaDB's version, with which old clients take it for a MySQL that they know.
const REPLICATION_PREFIX: &str = "5.5.5-";

/// 8.0.23 as (8, 0, 23); 26.1 as (26, 1, 0).
fn numbers(version: &str) -> Option<(u16, u16, u16)> {
    let end = version.find(|character: char| !character.is_ascii_digit() && character != '.');
    let mut numbers = version[..end.unwrap_or(version.len())].split('.').map(|number| number.parse::<u16>().ok());
    let (major, minor) = (numbers.next()??, numbers.next()??);
    let patch = numbers.next().map_or(Some(0), |patch| patch)?;
    Some((major, minor, patch))
}

/// The dialect of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Mariadb,
    Mysql {
        /// 8.0.23 as (8, 0, 23).
        version: (u16, u16, u16),
    },
}

impl Dialect {
    /// Recognises a program by its file: MariaDB's packages link `mysqld` to its server.
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
            .context("cannot parse the server's version")?;
        Ok(Dialect::Mysql { version })
    }

    /// The latest known series of this server's kind, where `version` is later: `26.1.0`, `12.3.2-MariaDB`. The server
    /// is treated as that series.
    pub fn known_before(self, version: &str) -> Option<String> {
        let version = version.strip_prefix(REPLICATION_PREFIX).unwrap_or(version);
        let (major, minor, _) = numbers(version)?;
        let known = match self {
            Dialect::Mariadb => LATEST_MARIADB,
            Dialect::Mysql { .. } => LATEST_MYSQL,
        };
        ((major, minor) > known).then(|| format!("{}.{}", known.0, known.1))
    }

    /// How many rows a statement must read from a table to open its file. MySQL opens it with the first row.
    pub fn rows_to_open_a_file(self) -> u8 {
        match self {
            Dialect::Mariadb => 0,
            Dialect::Mysql { .. } => 1,
        }
    }

    /// Whether the server lists tables with their engines without reading each definition.
    pub fn has_engines_in_dictionary(self) -> bool {
        matches!(self, Dialect::Mysql { version } if version >= (8, 0, 0))
    }

    pub(super) fn says_replica(self) -> bool {
        matches!(self, Dialect::Mysql { version } if version >= (8, 0, 23))
    }

    /// Settings for each new connection. They give literals their plain meaning, and lift the server's limits on
    /// answers and statements.
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

    /// Flushes Aria's tables, on this server only. Gives up after `limit` where a statement keeps one open, since every
    /// later statement on that table waits too. (MariaDB only.)
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

    /// Keeps a session's changes out of the binary log, or puts them in again. `None` for MariaDB. MySQL needs it,
    /// because it ignores requests to end a wait for a replica's acknowledgement.
    pub fn log_session(self, logged: bool) -> Option<Statement> {
        let text = format!("SET SESSION sql_log_bin = {}", u8::from(logged));
        matches!(self, Dialect::Mysql { .. }).then(|| Statement::new(text, "SET sql_log_bin"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mysql(major: u16, minor: u16, patch: u16) -> Dialect {
        Dialect::Mysql { version: (major, minor, patch) }
    }

    #[test]
    fn mariadbs_server_is_recognised_by_the_target_of_a_link() {
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
    fn servers_are_recognised_by_their_version() {
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
    fn later_versions_are_distinguished_from_known_ones() {
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
    fn session_settings_lift_the_servers_limits() {
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
}

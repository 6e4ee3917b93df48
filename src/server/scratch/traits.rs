//! What a server program can do for us, by its family and version: those who run one ask here, and know neither.

use std::path::Path;

use super::program::Program;
use super::setup::Access;
use crate::server::dialect::Dialect;

/// The first MySQL that takes the options which isolate it.
const FIRST_MYSQL: (u16, u16, u16) = (5, 7, 0);

/// The first MariaDB whose prepare leaves a log. (MDEV-14425)
const FIRST_WITH_LOG: (u32, u32) = (10, 8);

/// For a backup tool's copy. With this server id MySQL opens no relay log, and it upgrades tables when it starts in earnest.
const OF_MYSQLS_COPY: [&str; 2] = ["--server-id=0", "--loose-upgrade=MINIMAL"];

impl Program {
    /// Whether it takes the options that keep a private server to itself.
    pub fn can_be_isolated(&self) -> bool {
        !matches!(self.dialect, Dialect::Mysql { version } if version < FIRST_MYSQL)
    }

    /// Whether a copy lacks the log without which it can't start read-only: until MariaDB 10.8 a prepare leaves an empty one,
    /// which a server that may write replaces at its first start.
    pub fn lacks_log(&self, data: &Path) -> bool {
        let mut numbers = self.version.split('.').map(|number| number.parse().unwrap_or_default());
        let version: (u32, u32) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
        let is_empty = || std::fs::metadata(data.join("ib_logfile0")).is_ok_and(|log| log.len() == 0);
        self.dialect == Dialect::Mariadb && version < FIRST_WITH_LOG && is_empty()
    }

    /// What it must be allowed for its events to be changed: MariaDB's table of them is Aria's, which is written in spite of
    /// `--innodb-read-only`.
    pub fn access_to_events(&self, data: &Path) -> Access {
        match self.dialect {
            Dialect::Mariadb if !self.lacks_log(data) => Access::ReadOnly,
            _ => Access::Writable,
        }
    }

    /// Its own options on a backup tool's copy.
    pub fn options_on_copy(&self) -> &'static [&'static str] {
        match self.dialect {
            Dialect::Mariadb => &[],
            Dialect::Mysql { .. } => &OF_MYSQLS_COPY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(version: &str) -> Program {
        Program { path: "mysqld".into(), version: version.to_owned(), dialect: Dialect::of(version).unwrap() }
    }

    #[test]
    fn old_servers_are_known() {
        for (version, expected) in [("5.6.51", false), ("5.7.44-log", true), ("9.7.4", true), ("10.6.16-MariaDB", true)]
        {
            assert_eq!(program(version).can_be_isolated(), expected, "{version}");
        }
    }

    #[test]
    fn an_empty_log_is_usual_before_mariadb_10_8_only() {
        let copy = tempfile::tempdir().unwrap();
        std::fs::write(copy.path().join("ib_logfile0"), "").unwrap();
        for (version, expected) in
            [("10.6.16-MariaDB", true), ("10.11.19-MariaDB", false), ("11.8.9-MariaDB", false), ("8.0.36", false)]
        {
            assert_eq!(program(version).lacks_log(copy.path()), expected, "{version}");
        }
        assert_eq!(program("10.6.16-MariaDB").access_to_events(copy.path()), Access::Writable);
        std::fs::write(copy.path().join("ib_logfile0"), "x").unwrap();
        assert!(!program("10.6.16-MariaDB").lacks_log(copy.path()));
        assert_eq!(program("10.6.16-MariaDB").access_to_events(copy.path()), Access::ReadOnly);
        assert_eq!(program("8.0.36").access_to_events(copy.path()), Access::Writable);
    }
}

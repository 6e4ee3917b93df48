//! A backup tool's version, and which servers it is made for.
//!
//! | tool | servers |
//! |---|---|
//! | XtraBackup 2.3 | 5.1 (with the InnoDB plugin), 5.5, 5.6 |
//! | XtraBackup 2.4 | the same and 5.7 |
//! | XtraBackup 8.0 before 8.0.34 | 8.0 up to the version that it is based on: the log's format changed within 8.0 |
//! | XtraBackup 8.0 from 8.0.34 on | 8.0 |
//! | XtraBackup 8.1 and later | those of the same first two numbers: each innovation release needs its own |
//! | mariadb-backup | MariaDB of the same first two numbers |
//!
//! XtraBackup's own check (`check_server_version` in its backup_mysql.cc, of 2.4, 8.0 and 8.4) refuses about the same, but
//! only once it has been started; and 8.0 before 8.0.22 refused no later 8.0 at all. Its option
//! `--no-server-version-check` lets a copy be made that may be damaged: none is wanted that needs it. (Percona's
//! documentation, "Server version and backup version comparison" and "Supported versions" of 8.0, 8.4 and 9.)

use crate::model::version::{leading_numbers, series_of};
use std::fmt;

use super::family::Family;

/// The first XtraBackup 8.0 that copies later servers of its series.
const COPIES_LATER: [u32; 3] = [8, 0, 34];

/// What a tool says that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// As the tool writes it: `8.0.35-31`, `10.11.19`.
    text: String,
    /// The version of the server that it is made of. XtraBackup 8.0 up to 8.0.14 counted its own versions.
    base: String,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Version {
    /// `xtrabackup version 8.0.35-31 based on MySQL server 8.0.35 …`, `mariadb-backup based on MariaDB server
    /// 10.11.19-MariaDB …`. XtraBackup tells before that what it found in its options files.
    pub fn parse(text: &str, family: Family) -> Option<Version> {
        let (own, base) = match family {
            Family::Percona => {
                let (_, rest) = text.split_once("xtrabackup version ")?;
                let own = rest.split_whitespace().next()?;
                (own, rest.split_once("based on MySQL server ").map_or(own, |(_, base)| base))
            }
            Family::Mariadb => {
                let (_, server) = text.split_once("MariaDB server ")?;
                (leading_numbers(server), server)
            }
        };
        let is_version = own.starts_with(|first: char| first.is_ascii_digit());
        is_version.then(|| Version { text: own.to_owned(), base: leading_numbers(base).to_owned() })
    }

    /// The series, within which backups can be prepared by each other: `10.11`.
    pub fn series(&self) -> String {
        series_of(&self.text)
    }

    /// Whether it is of this version of the server, or later.
    pub fn is_from(&self, version: [u32; 3]) -> bool {
        numbers(&self.base).as_slice() >= version.as_slice()
    }

    /// Why a tool of this version can't copy a server, which says that its version is `server`: `8.0.36-28-log`,
    /// `10.11.19-MariaDB-0+deb12u1`. `None` where it can.
    pub fn misfit(&self, family: Family, server: &str) -> Option<String> {
        let of_mariadb = server.contains("MariaDB");
        // So that clients of old take it for a MySQL that they know.
        let server = if of_mariadb { server.strip_prefix("5.5.5-").unwrap_or(server) } else { server };
        let (own, theirs) = (self.series(), series_of(server));
        let fits = match family {
            Family::Mariadb => of_mariadb && own == theirs,
            Family::Percona if of_mariadb => false,
            Family::Percona => match own.as_str() {
                "2.3" => matches!(theirs.as_str(), "5.1" | "5.5" | "5.6"),
                "2.4" => matches!(theirs.as_str(), "5.1" | "5.5" | "5.6" | "5.7"),
                _ => own == theirs,
            },
        };
        if !fits {
            return Some("the donor needs the tool of its server's series".to_owned());
        }
        let is_limited = own == "8.0" && !self.is_from(COPIES_LATER);
        (is_limited && numbers(server) > numbers(&self.base)).then(|| {
            format!(
                "before 8.0.34 it copies servers up to the version that it is based on, {}: it needs a later one",
                self.base
            )
        })
    }
}

fn numbers(version: &str) -> Vec<u32> {
    leading_numbers(version).split('.').filter_map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percona(text: &str) -> Version {
        Version::parse(text, Family::Percona).unwrap()
    }

    fn based(version: &str, base: &str) -> Version {
        percona(&format!("xtrabackup version {version} based on MySQL server {base} Linux (x86_64) (revision id: 0)\n"))
    }

    fn mariadb(version: &str) -> Version {
        let text = format!("mariadb-backup based on MariaDB server {version} debian-linux-gnu (x86_64)\n");
        Version::parse(&text, Family::Mariadb).unwrap()
    }

    /// The lines of 2.3.5 and of mariadb-backup as they were seen, the others as Percona's manuals and bug reports
    /// have them.
    #[test]
    fn reads_what_each_series_prints() {
        for (text, shown, series, base) in [
            (
                "xtrabackup version 2.3.5 based on MySQL server 5.6.24 Linux (x86_64) (revision id: 45cda89)\n",
                "2.3.5",
                "2.3",
                "5.6.24",
            ),
            (
                "xtrabackup: recognized server arguments: --datadir=/var/lib/mysql --log_bin=mysql-bin \n\
                 xtrabackup version 2.4.29 based on MySQL server 5.7.44 Linux (x86_64) (revision id: 2e6c0951)\n",
                "2.4.29",
                "2.4",
                "5.7.44",
            ),
            ("xtrabackup version 8.0.14 based on MySQL server 8.0.21 Linux (x86_64)", "8.0.14", "8.0", "8.0.21"),
            (
                "xtrabackup: recognized server arguments: --datadir=/var/lib/mysql \n\
                 xtrabackup version 8.0.35-31 based on MySQL server 8.0.35 Linux (x86_64) (revision id: 55ec21d7)\n",
                "8.0.35-31",
                "8.0",
                "8.0.35",
            ),
            (
                "2024-10-07T13:55:51.255518-00:00 0 [Note] [MY-011825] [Xtrabackup] recognized server arguments: \
                 --datadir=/var/lib/mysql\nxtrabackup version 8.4.0-1 based on MySQL server 8.4.0 Linux (x86_64) \
                 (revision id: 3792f907)\n",
                "8.4.0-1",
                "8.4",
                "8.4.0",
            ),
            (
                "xtrabackup version 8.4.0-3 based on MySQL server 8.4.0-3 Linux (aarch64) (revision id: cccec763)",
                "8.4.0-3",
                "8.4",
                "8.4.0",
            ),
            (
                "/usr/bin/xtrabackup version 9.1.0-1 based on MySQL server 9.1.0 Linux (x86_64) (revision id: b7fb6b7a)",
                "9.1.0-1",
                "9.1",
                "9.1.0",
            ),
        ] {
            let version = percona(text);
            assert_eq!((&*version.to_string(), &*version.series(), &*version.base), (shown, series, base), "{text}");
        }
        for (program, server, shown, series) in [
            ("mariadb-backup", "10.11.19-MariaDB debian-linux-gnu", "10.11.19", "10.11"),
            ("mariabackup", "10.6.16-MariaDB debian-linux-gnu", "10.6.16", "10.6"),
            ("mariadb-backup", "11.8.9-MariaDB Linux", "11.8.9", "11.8"),
        ] {
            let text = format!("{program} based on MariaDB server {server} (x86_64)\n");
            let version = Version::parse(&text, Family::Mariadb).unwrap();
            assert_eq!((&*version.to_string(), &*version.series()), (shown, series));
        }
        for nonsense in ["", "sh: 1: xtrabackup: not found", "xtrabackup version ", "xtrabackup version unknown"] {
            assert_eq!(Version::parse(nonsense, Family::Percona), None, "{nonsense}");
        }
        assert_eq!(Version::parse("xtrabackup version 2.4.29 based on MySQL server 5.7.44", Family::Mariadb), None);
    }

    #[test]
    fn xtrabackup_fits_the_servers_of_its_table() {
        for (tool, fitting, others) in [
            (based("2.3.5", "5.6.24"), &["5.6.24", "5.5.62-log", "5.1.73"][..], &["5.7.44", "8.0.36", "8.4.5"][..]),
            (based("2.4.29", "5.7.44"), &["5.7.44-log", "5.7.44-48-log", "5.6.51"], &["8.0.36", "10.1.48-MariaDB"]),
            // Percona Server's and Debian's suffixes; servers earlier and later than the tool.
            (
                based("8.0.35-31", "8.0.35"),
                &["8.0.34", "8.0.35-27", "8.0.36-28.1", "8.0.39-0ubuntu0.22.04.1", "8.0.44"],
                &["8.4.0", "8.1.0", "5.7.44", "10.11.19-MariaDB", "9.1.0"],
            ),
            (based("8.0.34-29", "8.0.34"), &["8.0.34", "8.0.44-35"], &["8.4.5"]),
            (based("8.4.0-1", "8.4.0"), &["8.4.0", "8.4.7-7"], &["8.0.36", "8.3.0", "9.1.0"]),
            (based("9.1.0-1", "9.1.0"), &["9.1.0"], &["9.7.0", "9.2.0", "9.0.1", "8.4.5"]),
            (based("9.7.2-2", "9.7.2"), &["9.7.0", "9.7.3-3"], &["9.1.0", "8.4.5"]),
        ] {
            for server in fitting {
                assert_eq!(tool.misfit(Family::Percona, server), None, "{tool} and {server}");
            }
            for server in others {
                assert!(
                    tool.misfit(Family::Percona, server).is_some_and(|why| why.contains("series")),
                    "{tool} and {server}"
                );
            }
        }
    }

    #[test]
    fn an_early_xtrabackup_8_0_copies_no_later_server() {
        for (tool, base) in [("8.0.28-21", "8.0.28"), ("8.0.33-28", "8.0.33"), ("8.0.14", "8.0.21")] {
            let tool = based(tool, base);
            for server in [base, "8.0.20", "8.0.11"] {
                assert_eq!(tool.misfit(Family::Percona, server), None, "{tool} and {server}");
            }
            for server in ["8.0.34", "8.0.36-28", "8.0.100"] {
                let why = tool.misfit(Family::Percona, server).unwrap();
                assert!(why.contains(base), "{tool} and {server}: {why}");
            }
        }
    }

    #[test]
    fn mariadb_backup_fits_its_own_series() {
        let tool = mariadb("10.11.19-MariaDB");
        for server in
            ["10.11.6-MariaDB-1:10.11.6+maria~ubu2204", "10.11.19-MariaDB-0+deb12u1-log", "5.5.5-10.11.19-MariaDB"]
        {
            assert_eq!(tool.misfit(Family::Mariadb, server), None, "{server}");
        }
        for server in ["10.6.16-MariaDB", "11.8.9-MariaDB-0+deb13u1", "10.1.48-MariaDB", "8.0.36", "10.11.19", ""] {
            assert!(tool.misfit(Family::Mariadb, server).is_some(), "{server}");
        }
        let tool = mariadb("11.8.9-MariaDB");
        assert_eq!(tool.misfit(Family::Mariadb, "11.8.9-MariaDB-0+deb13u1 from Debian-log"), None);
        assert!(tool.misfit(Family::Mariadb, "10.11.19-MariaDB").is_some());
    }
}

//! What a backup tool is told when it is to make a backup, and what each series knows of it.
//!
//! | | XtraBackup 2.3, 2.4 | XtraBackup 8.0 to 9.7 | mariadb-backup 10.6 to 11.8 |
//! |---|---|---|---|
//! | `--stream=xbstream` | yes | yes | yes, the same as `mbstream` |
//! | `--stream=tar` | yes, without `--parallel` | "Invalid --stream argument: tar" | refused |
//! | `--slave-info` | yes, but see below | yes, but see below | yes |
//! | `--parallel` | yes | yes | yes |
//! | `--no-version-check` | yes | deprecated since 8.4.0-8 and 9.7.2-2 | yes, without a meaning |
//! | `--ftwrl-wait-timeout` | yes | yes | yes, with another meaning |
//! | `--no-server-version-check` | no | since 8.0.22-15 | no |
//! | `--lock-ddl` | 2.4, off | yes, on since it is of three values | no |
//! | `--safe-slave-backup` | yes | yes | yes |
//! | one that it doesn't know | is ignored | ends it (`--strict`, the default) | ends it |
//!
//! XtraBackup refuses `--slave-info` where its server has several applier threads and no GTID, whether that is a replica or
//! not; MySQL has several by default since 8.0.27. A primary's backup needs no such file.
//!
//! Seen with 2.3.5, and with mariadb-backup 10.11. Of the others: xtrabackup.cc (`xb_client_options`, `handle_options`) and
//! backup_mysql.cc (`detect_mysql_capabilities_for_backup`) of percona/percona-xtrabackup, and Percona's option references
//! and release notes of 2.4, 8.0, 8.4 and 9.7.
//!
//! What much advice says and is not done:
//!
//! - `--no-server-version-check`: [`super::version`] refuses before the tool would, and what only this option lets pass may
//!   be damaged.
//! - `--safe-slave-backup`: stops the replica's applier, since 8.0.22-15 for as long as the copy takes. It is for temporary
//!   tables in statement-based logs, and makes the tool take multi-threaded replicas without GTID: there is the primary
//!   to be copied instead.
//! - `--lock-ddl`: has DDL wait for as long as the copy takes. Where it is not the default the tool gives up by itself when
//!   DDL came in its way, and the recipient asks again.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::version::Version;
use super::{Backup, Family};
use crate::child::path_option;

/// All options but the one that must be the first.
pub fn of(family: Family, version: &Version, backup: &Backup<'_>) -> Vec<OsString> {
    let mut options: Vec<OsString> = vec![
        "--backup".into(),
        "--stream=xbstream".into(),
        format!("--host={}", backup.server.host).into(),
        format!("--port={}", backup.server.port).into(),
        path_option("--datadir=", backup.data_dir),
        path_option("--target-dir=", &backup.scratch.join("target")),
        path_option("--tmpdir=", backup.scratch),
        format!("--parallel={}", backup.threads).into(),
    ];
    if backup.of_replica {
        options.push("--slave-info".into());
    }
    if family == Family::Percona {
        // Else it asks a host of its maker whether there is a newer version. A release to come will not know the option.
        let may_be_unknown = version.is_from([8, 0, 0]);
        options.push(if may_be_unknown { "--loose-no-version-check" } else { "--no-version-check" }.into());
        // mariadb-backup would wait for a moment in which nobody writes, which a busy server never has.
        options.push(format!("--ftwrl-wait-timeout={}", backup.lock_wait.as_secs()).into());
    }
    options
}

/// Why the tool would not say where a replica's source is, by the server's variables; `None` where it would.
pub fn why_without_source(family: Family, version: &Version, variables: &BTreeMap<String, String>) -> Option<String> {
    let is = |name: &str, value: &str| variables.get(name).is_some_and(|is| is.eq_ignore_ascii_case(value));
    let threads: u32 = variables.get("slave_parallel_workers").and_then(|count| count.parse().ok()).unwrap_or_default();
    let most = if version.is_from([8, 0, 0]) { 1 } else { 0 };
    (family == Family::Percona && threads > most && !is("gtid_mode", "ON")).then(|| {
        format!(
            "XtraBackup copies no replica with {threads} applier threads and without GTID: set gtid_mode, or let it have \
             {most} (slave_parallel_workers, replica_parallel_workers)"
        )
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::limits::Descriptors;
    use crate::secret::Password;
    use crate::settings::{Account, HostPort};

    #[test]
    fn a_password_is_no_option_and_only_xtrabackup_is_told_what_only_it_needs() {
        let backup = Backup {
            server: &HostPort { host: "127.0.0.1".into(), port: 3306 },
            account: &Account { user: "backup".into(), password: Password::fixed("s3cret"), socket: None },
            data_dir: Path::new("/var/lib/mysql"),
            scratch: Path::new("/scratch"),
            lock_wait: Duration::from_secs(60),
            threads: 4,
            descriptors: Descriptors::for_files(0).unwrap(),
            mean_file_bytes: 1 << 20,
            of_replica: true,
        };
        let words = |family, version: &str| {
            let version = Version::parse(version, family).unwrap();
            let words = of(family, &version, &backup).into_iter().map(|word| word.into_string().unwrap());
            words.collect::<Vec<_>>().join(" ")
        };
        let common = "--backup --stream=xbstream --host=127.0.0.1 --port=3306 --datadir=/var/lib/mysql \
                      --target-dir=/scratch/target --tmpdir=/scratch --parallel=4 --slave-info";
        for version in ["10.6.16-MariaDB", "10.11.19-MariaDB", "11.8.9-MariaDB"] {
            let text = format!("mariadb-backup based on MariaDB server {version}");
            assert_eq!(words(Family::Mariadb, &text), common);
        }
        for (version, more) in [
            ("2.3.5", "--no-version-check --ftwrl-wait-timeout=60"),
            ("2.4.29", "--no-version-check --ftwrl-wait-timeout=60"),
            ("8.0.35-31", "--loose-no-version-check --ftwrl-wait-timeout=60"),
            ("8.4.0-8", "--loose-no-version-check --ftwrl-wait-timeout=60"),
            ("9.7.2-2", "--loose-no-version-check --ftwrl-wait-timeout=60"),
        ] {
            assert_eq!(words(Family::Percona, &format!("xtrabackup version {version}")), format!("{common} {more}"));
        }
    }

    #[test]
    fn a_multi_threaded_replica_needs_gtid() {
        let why = |family, version: &str, workers: &str, gtid_mode: &str| {
            let version = Version::parse(version, family).unwrap();
            let variables = [("slave_parallel_workers", workers), ("gtid_mode", gtid_mode)];
            let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            why_without_source(family, &version, &variables)
        };
        let (old, new) = ("xtrabackup version 2.4.29", "xtrabackup version 8.4.0-1 based on MySQL server 8.4.0");
        for (version, workers, gtid_mode, is_copied) in [
            (old, "0", "OFF", true),
            (old, "1", "OFF", false),
            (old, "4", "ON", true),
            (new, "1", "OFF", true),
            (new, "4", "OFF", false),
            (new, "4", "ON_PERMISSIVE", false),
            (new, "4", "ON", true),
        ] {
            let why = why(Family::Percona, version, workers, gtid_mode);
            assert_eq!(why.is_none(), is_copied, "{version} {workers} {gtid_mode}: {why:?}");
        }
        assert_eq!(why(Family::Mariadb, "mariadb-backup based on MariaDB server 10.11.19-MariaDB", "4", ""), None);
        let nothing_known =
            why_without_source(Family::Percona, &Version::parse(new, Family::Percona).unwrap(), &BTreeMap::new());
        assert_eq!(nothing_known, None);
    }
}

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
use std::path::{Component, Path};

use anyhow::Result;

use super::backup::Backup;
use super::family::Family;
use super::options_file::Options;
use super::version::Version;
use crate::sys::child::path_option;

/// The algorithms and methods that the tools know.
const CHECKSUMS: &[&str] =
    &["crc32", "strict_crc32", "full_crc32", "strict_full_crc32", "innodb", "strict_innodb", "none", "strict_none"];
const FLUSH_METHODS: &[&str] = &["fsync", "O_DSYNC", "O_DIRECT", "O_DIRECT_NO_FSYNC"];

/// What the tool's options file holds: the account, and those of the server's settings for which the tool doesn't ask the
/// server itself.
///
/// Both tools ask it (`get_mysql_vars` in backup_mysql.cc) for `datadir`, `innodb_data_file_path`, `innodb_data_home_dir`,
/// `innodb_log_group_home_dir`, `innodb_undo_directory`, `innodb_page_size`, `innodb_log_file_size`, the files in a group,
/// `innodb_directories`, encryption of logs, `ignore_db_dirs` and `rocksdb_datadir`; mariadb-backup takes the server's word
/// before an options file's, XtraBackup only where the file is silent. So the file is silent. Plugins for keys and their
/// settings are asked for too (`encryption_plugin_backup_init`, `xb_keyring_init_for_backup`).
pub fn in_file(family: Family, backup: &Backup<'_>) -> Result<Options> {
    let mut options = Options::default();
    options.group("client");
    options.set("user", &backup.account.user)?;
    options.set("password", backup.account.password.current().reveal())?;
    if family == Family::Mariadb {
        // Since 11.4 it would ask for a certificate in the name of 127.0.0.1. It is encrypted all the same where the server
        // can, so that `require_secure_transport` does no harm.
        options.set("loose_ssl_verify_server_cert", "0")?;
    }
    options.group("mysqld");
    for (name, value) in settings(backup.variables, backup.data_dir) {
        // A series that doesn't have it passes it over.
        options.set(&format!("loose_{name}"), &value)?;
    }
    Ok(options)
}

/// Settings of the server by their names. A value that the tools may not know is left to their defaults.
fn settings(variables: &BTreeMap<String, String>, data_dir: &Path) -> Vec<(&'static str, String)> {
    let get = |name: &str| variables.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let one_of = |name: &'static str, known: &[&str]| {
        let value = get(name)?;
        known.iter().find(|known| known.eq_ignore_ascii_case(value)).map(|known| (name, (*known).to_owned()))
    };
    let number = |name: &'static str| Some((name, get(name)?.parse::<u64>().ok()?.to_string()));
    // Later series tell their undo tablespaces otherwise, and this one's number is not of all.
    let is_old = get("version").is_some_and(|version| version.starts_with("5."));
    let mut found = vec![
        // Pages are read past the page cache where the server does so.
        one_of("innodb_flush_method", FLUSH_METHODS),
        one_of("innodb_checksum_algorithm", CHECKSUMS),
        // Of Percona Server 5.6 and 5.7.
        one_of("innodb_log_checksum_algorithm", CHECKSUMS),
        number("innodb_log_block_size"),
        number("innodb_undo_tablespaces").filter(|_| is_old),
    ];
    let aria_logs = get("aria_log_dir_path").and_then(|place| below(place, get("datadir")?, data_dir));
    found.push(aria_logs.map(|place| ("aria_log_dir_path", place)));
    found.into_iter().flatten().collect()
}

/// A directory of the server's below its data directory, by its name on this side.
fn below(place: &str, servers_data_dir: &str, data_dir: &Path) -> Option<String> {
    let place = Path::new(place);
    let inside = if place.is_absolute() { place.strip_prefix(servers_data_dir).ok()? } else { place };
    let is_plain = inside.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    is_plain.then(|| data_dir.join(inside).to_str().map(str::to_owned))?
}

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
    use crate::model::host::HostPort;
    use crate::server::account::Account;
    use crate::sys::limits::Descriptors;
    use crate::sys::secret::Password;

    #[test]
    fn a_password_is_no_option_and_only_xtrabackup_is_told_what_only_it_needs() {
        let backup = Backup {
            variables: &BTreeMap::new(),
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
    fn the_file_holds_what_the_tool_does_not_ask_the_server_for() {
        let of = |variables: &[(&str, &str)]| {
            let all = [("datadir", "/var/lib/mysql/")].iter().chain(variables);
            let variables = all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let found = settings(&variables, Path::new("/data"));
            found.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of(&[]), "");
        assert_eq!(
            of(&[("innodb_flush_method", "o_direct"), ("innodb_checksum_algorithm", "strict_full_crc32")]),
            "innodb_flush_method=O_DIRECT innodb_checksum_algorithm=strict_full_crc32"
        );
        for unknown in ["", "ALL_O_DIRECT", "fsync\n[xtrabackup]\ntables=a"] {
            assert_eq!(of(&[("innodb_flush_method", unknown)]), "", "{unknown}");
        }
        for (version, expected) in [("5.7.44", "innodb_undo_tablespaces=3"), ("8.0.36", ""), ("10.11.6-MariaDB", "")] {
            assert_eq!(of(&[("version", version), ("innodb_undo_tablespaces", "3")]), expected, "{version}");
        }
        assert_eq!(of(&[("innodb_log_block_size", "4096")]), "innodb_log_block_size=4096");
        assert_eq!(of(&[("innodb_log_block_size", "4K")]), "");
        for (place, expected) in [
            ("/var/lib/mysql/", "aria_log_dir_path=/data/"),
            ("/var/lib/mysql/aria", "aria_log_dir_path=/data/aria"),
            ("aria", "aria_log_dir_path=/data/aria"),
            ("./", "aria_log_dir_path=/data/./"),
            ("/elsewhere", ""),
            ("/var/lib/mysql/../x", ""),
        ] {
            assert_eq!(of(&[("aria_log_dir_path", place)]), expected, "{place}");
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

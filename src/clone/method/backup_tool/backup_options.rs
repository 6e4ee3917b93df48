//! The backup tool's options for a backup, and the support of each series for them.
//!
//! | | XtraBackup 2.3, 2.4 | XtraBackup 8.0 to 9.7 | mariadb-backup 10.6 to 11.8 |
//! |---|---|---|---|
//! | `--stream=xbstream` | yes | yes | yes, the same as `mbstream` |
//! | `--stream=tar` | yes, without `--parallel` | "Invalid --stream argument: tar" | refused |
//! | `--slave-info` | yes, but see below | yes, but see below | yes |
//! | `--parallel` | yes | yes | yes |
//! | `--no-version-check` | yes | deprecated since 8.4.0-8 and 9.7.2-2 | yes, without effect |
//! | `--ftwrl-wait-timeout` | yes | yes | yes, with another meaning |
//! | `--no-server-version-check` | no | since 8.0.22-15 | no |
//! | `--lock-ddl` | 2.4, off | yes, on since it is of three values | no |
//! | `--safe-slave-backup` | yes | yes | yes |
//! | an unknown option | is ignored | ends it (`--strict`, the default) | ends it |
//!
//! XtraBackup refuses `--slave-info` on any server that has several applier threads and lacks GTID, even a primary.
//! MySQL has several by default since 8.0.27. A primary's backup works without that file.
//!
//! Seen with 2.3.5, and with mariadb-backup 10.11. Sources for the others: xtrabackup.cc (`xb_client_options`,
//! `handle_options`) and backup_mysql.cc (`detect_mysql_capabilities_for_backup`) of percona/percona-xtrabackup, and
//! Percona's option references and release notes of 2.4, 8.0, 8.4 and 9.7.
//!
//! Options that are often recommended and deliberately left out:
//!
//! - `--no-server-version-check`: [`super::version`] refuses before the tool would. A copy that only this option
//!   permits may be damaged.
//! - `--safe-slave-backup`: stops the replica's applier, since 8.0.22-15 for the whole copy. It exists for temporary
//!   tables in statement-based logs, and makes the tool accept multi-threaded replicas that lack GTID. The primary can be
//!   copied instead.
//! - `--lock-ddl`: makes DDL wait for the whole copy. If it is off by default, the tool gives up when DDL interferes,
//!   and the recipient asks again.

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

/// The tool's option file: the account, and the server's settings that the tool does not read from the server itself.
///
/// Both tools read these from the server (`get_mysql_vars` in backup_mysql.cc): `datadir`, `innodb_data_file_path`,
/// `innodb_data_home_dir`, `innodb_log_group_home_dir`, `innodb_undo_directory`, `innodb_page_size`,
/// `innodb_log_file_size`, the files in a group, `innodb_directories`, encryption of logs, `ignore_db_dirs` and
/// `rocksdb_datadir`. mariadb-backup prefers the server's value to an option file's, XtraBackup uses it only if the
/// file is silent. So the file is silent. The tools also read plugins for keys and their settings from the server
/// (`encryption_plugin_backup_init`, `xb_keyring_init_for_backup`).
pub fn in_file(family: Family, backup: &Backup<'_>) -> Result<Options> {
    let mut options = Options::default();
    options.group("client");
    options.set("user", &backup.account.user)?;
    options.set("password", backup.account.password.current().reveal())?;
    if family == Family::Mariadb {
        // Since 11.4 the tool would require a certificate for the name 127.0.0.1. The connection is still encrypted if
        // the server can, so `require_secure_transport` is satisfied.
        options.set("loose_ssl_verify_server_cert", "0")?;
    }
    options.group("mysqld");
    for (name, value) in settings(backup.variables, backup.data_dir) {
        // A series that lacks the setting ignores it.
        options.set(&format!("loose_{name}"), &value)?;
    }
    Ok(options)
}

/// Names and values of the server's settings. A value that the tools may lack is left to their defaults.
fn settings(variables: &BTreeMap<String, String>, data_dir: &Path) -> Vec<(&'static str, String)> {
    let get = |name: &str| variables.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let one_of = |name: &'static str, known: &[&str]| {
        let value = get(name)?;
        known.iter().find(|known| known.eq_ignore_ascii_case(value)).map(|known| (name, (*known).to_owned()))
    };
    let number = |name: &'static str| Some((name, get(name)?.parse::<u64>().ok()?.to_string()));
    // Later series announce their undo tablespaces otherwise, and this number covers only some of them.
    let is_old = get("version").is_some_and(|version| version.starts_with("5."));
    let mut found = vec![
        // Reads bypass the page cache if the server's do.
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

/// Maps a directory below the server's data directory to its name on this side.
fn below(place: &str, servers_data_dir: &str, data_dir: &Path) -> Option<String> {
    let place = Path::new(place);
    let inside = if place.is_absolute() { place.strip_prefix(servers_data_dir).ok()? } else { place };
    let is_plain = inside.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    is_plain.then(|| data_dir.join(inside).to_str().map(str::to_owned))?
}

/// All options except the one that must be first.
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
        // Otherwise the tool asks a host of its maker for newer versions. A future release may drop the option.
        let may_be_unknown = version.is_from([8, 0, 0]);
        options.push(if may_be_unknown { "--loose-no-version-check" } else { "--no-version-check" }.into());
        // mariadb-backup would wait for a pause in all writing, which a busy server lacks.
        options.push(format!("--ftwrl-wait-timeout={}", backup.lock_wait.as_secs()).into());
    }
    options
}

/// Why the tool would omit a replica's position at its source, judged by the server's variables. `None` if it records
/// it.
pub fn why_without_source(family: Family, version: &Version, variables: &BTreeMap<String, String>) -> Option<String> {
    let is = |name: &str, value: &str| variables.get(name).is_some_and(|is| is.eq_ignore_ascii_case(value));
    let threads: u32 = variables.get("slave_parallel_workers").and_then(|count| count.parse().ok()).unwrap_or_default();
    let most = if version.is_from([8, 0, 0]) { 1 } else { 0 };
    (family == Family::Percona && threads > most && !is("gtid_mode", "ON")).then(|| {
        format!(
            "XtraBackup cannot copy a replica that has {threads} applier threads and no GTID: set gtid_mode, or set the threads to \
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
    fn the_password_is_no_argument_and_each_tool_gets_its_options() {
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
    fn the_file_holds_settings_that_the_tool_cannot_read_from_the_server() {
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

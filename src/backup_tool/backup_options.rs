//! What a backup tool is told when it is to make a backup, and what each series knows of it.
//!
//! | | XtraBackup 2.3, 2.4 | XtraBackup 8.0 to 9.7 | mariadb-backup 10.6 to 11.8 |
//! |---|---|---|---|
//! | `--stream=xbstream` | yes | yes | yes, the same as `mbstream` |
//! | `--stream=tar` | yes, without `--parallel` | "Invalid --stream argument: tar" | refused |
//! | `--slave-info` | yes | yes | yes |
//! | `--parallel` | yes | yes | yes |
//! | `--no-version-check` | yes | deprecated since 8.4.0-8 and 9.7.2-2 | yes, without a meaning |
//! | `--ftwrl-wait-timeout` | yes | yes | yes, with another meaning |
//! | `--no-server-version-check` | no | since 8.0.22-15 | no |
//! | `--lock-ddl` | 2.4, off | yes, on since it is of three values | no |
//! | `--safe-slave-backup` | yes | yes | yes |
//! | one that it doesn't know | is ignored | ends it (`--strict`, the default) | ends it |
//!
//! Seen with 2.3.5, and with mariadb-backup 10.11. Of the others: xtrabackup.cc (`xb_client_options`, `handle_options`) of
//! percona/percona-xtrabackup, and Percona's option references and release notes of 2.4, 8.0, 8.4 and 9.7.
//!
//! What much advice says and is not done:
//!
//! - `--no-server-version-check`: [`super::version`] refuses before the tool would, and what only this option lets pass may
//!   be damaged.
//! - `--safe-slave-backup`: stops the replica's applier, since 8.0.22-15 for as long as the copy takes. It is for temporary
//!   tables in statement-based logs, and for multi-threaded replicas without GTID, which the tool refuses to copy else:
//!   then the primary is copied.
//! - `--lock-ddl`: has DDL wait for as long as the copy takes. Where it is not the default the tool gives up by itself when
//!   DDL came in its way, and is started again.

use std::ffi::OsString;

use super::version::Version;
use super::{Backup, Family, path_option};

/// All options but the one that must be the first.
pub fn of(family: Family, version: &Version, backup: &Backup<'_>) -> Vec<OsString> {
    let mut options: Vec<OsString> = vec![
        "--backup".into(),
        "--stream=xbstream".into(),
        "--slave-info".into(),
        format!("--host={}", backup.server.host).into(),
        format!("--port={}", backup.server.port).into(),
        path_option("--datadir=", backup.data_dir),
        path_option("--target-dir=", &backup.scratch.join("target")),
        path_option("--tmpdir=", backup.scratch),
        format!("--parallel={}", backup.threads).into(),
    ];
    if family == Family::Percona {
        // Else it asks a host of its maker whether there is a newer version. A release to come will not know the option.
        let may_be_unknown = version.is_from([8, 0, 0]);
        options.push(if may_be_unknown { "--loose-no-version-check" } else { "--no-version-check" }.into());
        // mariadb-backup would wait for a moment in which nobody writes, which a busy server never has.
        options.push(format!("--ftwrl-wait-timeout={}", backup.lock_wait.as_secs()).into());
    }
    options
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
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
        };
        let words = |family, version: &str| {
            let version = Version::parse(version, family).unwrap();
            let words = of(family, &version, &backup).into_iter().map(|word| word.into_string().unwrap());
            words.collect::<Vec<_>>().join(" ")
        };
        let common = "--backup --stream=xbstream --slave-info --host=127.0.0.1 --port=3306 --datadir=/var/lib/mysql \
                      --target-dir=/scratch/target --tmpdir=/scratch --parallel=4";
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
}

//! Reads the small files that the backup tools leave beside the data: checkpoints, and the position of replication.
//!
//! XtraBackup, and mariadb-backup up to 11.0, name them `xtrabackup_*`; mariadb-backup since 11.1 names them
//! `mariadb_backup_*` (MDEV-18931).

use std::io::{ErrorKind, Read};

use anyhow::{Context, Result};

use crate::model::exit::Reason;
use crate::model::position::{self, Position, Writer};
use crate::model::version::series_of;
use crate::sys::disk::disk_error;
use crate::sys::held_directory::{Directory, Spot};

const PREFIXES: [&str; 2] = ["mariadb_backup_", "xtrabackup_"];

/// Whether a name at a copy's top belongs to a tool's own notes.
pub fn is_tools_own(name: &str) -> bool {
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Far more than any of these files has had; a GTID set of ten thousand servers fits.
const SIZE_LIMIT: u64 = 1 << 20;

/// Files that a backup stream brings before its checkpoints. If the checkpoints are missing, they show that the stream
/// was cut.
pub const BEFORE_CHECKPOINTS: [&str; 5] = [
    "xtrabackup_binlog_info",
    "xtrabackup_slave_info",
    "mariadb_backup_binlog_info",
    "mariadb_backup_slave_info",
    "xtrabackup_logfile",
];

/// Whether a backup tool wrote this InnoDB log, and a server has yet to start on it. The header names its creator,
/// "Backup 10.11.19" or "MariaDB 10.11.19". mariadb-backup streams it from the beginning.
pub fn is_log_of_backup(log: &Spot) -> Result<bool> {
    const CREATOR: usize = 16;
    const BACKUP: &[u8] = b"Backup ";
    let mut header = [0; CREATOR + BACKUP.len()];
    match log.open_file().and_then(|mut file| file.read_exact(&mut header)) {
        Ok(()) => Ok(&header[CREATOR..] == BACKUP),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::UnexpectedEof) => Ok(false),
        Err(error) => Err(disk_error(error, format!("reading {log}"))),
    }
}

/// Finds a file of Aria's log at a backup's top that is shorter than one of its pages. On such a file mariadb-backup
/// computes for ever. (10.11)
pub fn cut_aria_log(directory: &(impl Directory + ?Sized)) -> Result<Option<String>> {
    const PAGE: i64 = 8192;
    let failed = |error| disk_error(error, format!("listing {}", directory.named().display()));
    let held = directory.spot().map_err(failed)?;
    for entry in held.entries().map_err(failed)? {
        let name = entry.name.to_string_lossy().into_owned();
        let is_log = name.strip_prefix("aria_log.").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
        if is_log && held.join(&entry.name).look().map_err(failed)?.st_size < PAGE {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// The length of the InnoDB log that was copied with a backup: XtraBackup's file, or mariadb-backup's.
pub fn log_bytes(directory: &(impl Directory + ?Sized)) -> u64 {
    let Ok(directory) = directory.spot() else { return 0 };
    let length = |name: &&str| directory.join(name).look().ok().and_then(|found| u64::try_from(found.st_size).ok());
    ["xtrabackup_logfile", "ib_logfile0"].iter().find_map(length).unwrap_or_default()
}

/// The state of a backup, as the backup records it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checkpoints {
    /// As it was copied: full of half-written pages until it is prepared.
    Unprepared,
    /// Prepared to its end.
    Prepared,
}

/// Reads the checkpoints file of a backup; `None` where it is missing.
pub fn checkpoints(directory: &(impl Directory + ?Sized)) -> Result<Option<Checkpoints>> {
    let Some(text) = read(directory, "checkpoints")? else { return Ok(None) };
    Ok(Some(match value_of(&text, "backup_type") {
        Some("full-prepared" | "log-applied") => Checkpoints::Prepared,
        _ => Checkpoints::Unprepared,
    }))
}

/// The last log sequence number that a backup copied, as it recorded it.
pub fn last_lsn(directory: &(impl Directory + ?Sized)) -> Result<Option<u64>> {
    let text = read(directory, "checkpoints")?;
    Ok(text.and_then(|text| value_of(&text, "last_lsn")?.parse().ok()))
}

/// The series of the tool that made a backup, as the backup records it.
pub fn series_of_maker(directory: &(impl Directory + ?Sized)) -> Result<Option<String>> {
    let text = read(directory, "info")?;
    Ok(text.and_then(|text| value_of(&text, "tool_version").map(series_of)).filter(|series| !series.is_empty()))
}

/// The name of the binary log that the copied server was writing, as the backup records it.
pub fn binlog_name(directory: &(impl Directory + ?Sized)) -> Result<Option<String>> {
    let text = read(directory, "binlog_info")?;
    Ok(text.and_then(|text| text.split_whitespace().next().map(str::to_owned)))
}

/// Reads the first line of a value. Some values continue in further lines, such as `binlog_pos` with two UUIDs, but
/// callers need only the first.
fn value_of<'a>(text: &'a str, wanted: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == wanted).then(|| value.trim())
    })
}

/// The primary's own position when it was copied. A former replica also has a file about its source of that time, which
/// is outdated.
pub fn position_of_primary(directory: &(impl Directory + ?Sized), writer: Writer) -> Result<Position> {
    match read(directory, "binlog_info")?.filter(|text| !text.trim().is_empty()) {
        Some(text) => position::parse_binlog_info(&text, writer)
            .context("reading the backup's replication position")
            .map_err(|error| Reason::NoPosition.because(error)),
        None => Err(Reason::NoPosition.error(
            "the backup has no replication position, because the donor's server writes no binary log: set log_bin in \
             the primary's configuration",
        )),
    }
}

/// The position of the donor's source, as a replica's backup records it.
pub fn position_of_source(directory: &(impl Directory + ?Sized)) -> Result<Position> {
    match read(directory, "slave_info")?.filter(|text| !text.trim().is_empty()) {
        Some(text) => position::parse_slave_info(&text)
            .context("reading the backup's replication position")
            .map_err(|error| Reason::NoPosition.because(error)),
        None => Err(Reason::NoPosition.error(
            "the donor is a replica, but its backup has no position of its source: the donor's server has no source",
        )),
    }
}

/// Whether a backup records the position of its donor's source.
pub fn has_source(directory: &(impl Directory + ?Sized)) -> Result<bool> {
    Ok(read(directory, "slave_info")?.is_some_and(|text| !text.trim().is_empty()))
}

/// Reads the newer name where it exists, else the older one.
fn read(directory: &(impl Directory + ?Sized), suffix: &str) -> Result<Option<String>> {
    let directory =
        directory.spot().map_err(|error| disk_error(error, format!("opening {}", directory.named().display())))?;
    for prefix in PREFIXES {
        let path = directory.join(format!("{prefix}{suffix}"));
        match path.read_bounded(SIZE_LIMIT) {
            Ok(Some(bytes)) => return Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Ok(None) => {
                return Err(
                    Reason::HalfMade.error(format!("{path} has more than {SIZE_LIMIT} bytes, too many for its name"))
                );
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(disk_error(error, format!("reading {path}"))),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::exit::reason_of;

    #[test]
    fn reads_old_and_new_names() {
        for prefix in PREFIXES {
            let directory = tempfile::tempdir().unwrap();
            assert_eq!(checkpoints(directory.path()).unwrap(), None);
            let write = |name: &str, text: &str| {
                std::fs::write(directory.path().join(format!("{prefix}{name}")), text).unwrap()
            };
            write("checkpoints", "backup_type = full-backuped\nfrom_lsn = 0\n");
            assert_eq!(checkpoints(directory.path()).unwrap(), Some(Checkpoints::Unprepared));
            assert_eq!(last_lsn(directory.path()).unwrap(), None);
            write("checkpoints", "backup_type = log-applied\nfrom_lsn = 0\nlast_lsn = 24842282\n");
            assert_eq!(checkpoints(directory.path()).unwrap(), Some(Checkpoints::Prepared));
            assert_eq!(last_lsn(directory.path()).unwrap(), Some(24842282));
            write("binlog_info", "mysql-bin.000001\t330\t0-100-7\n");
            // Left by an earlier life as a replica.
            write("slave_info", "CHANGE MASTER TO MASTER_LOG_FILE='', MASTER_LOG_POS=0;\n");
            let found = position_of_primary(directory.path(), Writer::MariadbBackup).unwrap();
            assert_eq!(found, Position::MariadbGtid { slave_pos: "0-100-7".into() });
        }
    }

    fn with(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        directory
    }

    #[test]
    fn checkpoints_of_each_series() {
        for (unprepared, prepared, last) in [
            // 2.3.5, as recorded.
            (
                "backup_type = full-backuped\nfrom_lsn = 0\nto_lsn = 1625994\nlast_lsn = 1642299\ncompact = 0\n\
                 recover_binlog_info = 0\n",
                "full-prepared",
                1642299,
            ),
            // 2.4.
            (
                "backup_type = full-backuped\nfrom_lsn = 0\nto_lsn = 2742083\nlast_lsn = 2742092\ncompact = 0\n\
                 recover_binlog_info = 0\nflushed_lsn = 2742092\n",
                "full-prepared",
                2742092,
            ),
            // 8.0 and later.
            (
                "backup_type = full-backuped\nfrom_lsn = 0\nto_lsn = 18446744073709551614\nlast_lsn = 18446744073709551615\n\
                 flushed_lsn = 18446744073709551615\nredo_memory = 0\nredo_frames = 0\n",
                "full-prepared",
                u64::MAX,
            ),
            // mariadb-backup 10.11 and 11.8, as recorded.
            (
                "backup_type = full-backuped\nfrom_lsn = 0\nto_lsn = 44586\nlast_lsn = 48263\n\
                 recover_binlog_info = 0\n",
                "log-applied",
                48263,
            ),
        ] {
            for prefix in PREFIXES {
                let name = format!("{prefix}checkpoints");
                let found = with(&[(&name, unprepared)]);
                assert_eq!(checkpoints(found.path()).unwrap(), Some(Checkpoints::Unprepared), "{unprepared}");
                assert_eq!(last_lsn(found.path()).unwrap(), Some(last), "{unprepared}");
                let found = with(&[(&name, &unprepared.replace("full-backuped", prepared))]);
                assert_eq!(checkpoints(found.path()).unwrap(), Some(Checkpoints::Prepared), "{prepared}");
            }
        }
        for text in ["", "backup_type\n", "backup_type = incremental\n", "backup_type = full-preparedx\n"] {
            let found = with(&[("xtrabackup_checkpoints", text)]);
            assert_eq!(checkpoints(found.path()).unwrap(), Some(Checkpoints::Unprepared), "{text}");
        }
    }

    #[test]
    fn a_backup_records_its_tool() {
        let of_235 = "uuid = 15c068ba-e75b-11f1-b227-02fc00000001\nname = \ntool_name = xtrabackup\n\
            tool_command = --backup --password=... --stream=xbstream\ntool_version = 2.3.5\nibbackup_version = 2.3.5\n\
            server_version = 5.6.24-log\nbinlog_pos = filename 'b.2', position '7', GTID of the last change 'x:1-10,\n\
            y:1-2'\ninnodb_from_lsn = 0\n";
        for (name, text, series) in [
            ("xtrabackup_info", of_235, Some("2.3")),
            ("xtrabackup_info", "tool_version = 8.0.35-31\nserver_version = 8.0.36\n", Some("8.0")),
            ("xtrabackup_info", "tool_version = 8.4.0-1\nserver_flavor = MySQL\n", Some("8.4")),
            ("xtrabackup_info", "tool_version = 10.11.19-MariaDB\n", Some("10.11")),
            ("mariadb_backup_info", "tool_version = 11.8.9-MariaDB\n", Some("11.8")),
            ("xtrabackup_info", "tool_version = \n", None),
            ("xtrabackup_info", "", None),
            ("other", "tool_version = 2.3.5", None),
        ] {
            assert_eq!(series_of_maker(with(&[(name, text)]).path()).unwrap().as_deref(), series, "{text}");
        }
    }

    #[test]
    fn the_log_is_found_by_either_name() {
        assert_eq!(log_bytes(with(&[]).path()), 0);
        assert_eq!(log_bytes(with(&[("ib_logfile0", "12345")]).path()), 5);
        // An earlier prepare has begun to create the server's own.
        assert_eq!(log_bytes(with(&[("ib_logfile0", "12345"), ("xtrabackup_logfile", "123")]).path()), 3);
    }

    #[test]
    fn an_aria_log_has_at_least_a_page() {
        let page = "x".repeat(8192);
        assert_eq!(
            cut_aria_log(with(&[("aria_log.00000001", &page), ("aria_log_control", "x")]).path()).unwrap(),
            None
        );
        let cut = with(&[("aria_log.00000001", &page), ("aria_log.00000002", "")]);
        assert_eq!(cut_aria_log(cut.path()).unwrap().as_deref(), Some("aria_log.00000002"));
    }

    #[test]
    fn a_backup_without_a_position_names_the_missing_setting() {
        for files in [&[][..], &[("xtrabackup_binlog_info", "")], &[("mariadb_backup_binlog_info", "\n")]] {
            let error = position_of_primary(with(files).path(), Writer::XtraBackup).unwrap_err();
            assert!(error.to_string().contains("log_bin"), "{error}");
            assert_eq!(reason_of(&error), Some(Reason::NoPosition));
        }
        // XtraBackup since 2.4 writes an empty file where 2.3 and mariadb-backup write none.
        for files in [&[][..], &[("xtrabackup_slave_info", "")], &[("mariadb_backup_slave_info", "\n")]] {
            let directory = with(files);
            assert!(!has_source(directory.path()).unwrap());
            let error = position_of_source(directory.path()).unwrap_err();
            assert!(error.to_string().contains("has no source"), "{error}");
            assert_eq!(reason_of(&error), Some(Reason::NoPosition));
        }
        let named = [("xtrabackup_slave_info", "CHANGE MASTER 'a' TO master_use_gtid = slave_pos;\n")];
        let error = position_of_source(with(&named).path()).unwrap_err();
        assert!(format!("{error:#}").contains("a named connection"), "{error:#}");
        assert_eq!(reason_of(&error), Some(Reason::NoPosition));
    }

    #[test]
    fn a_file_that_is_far_too_long_is_refused() {
        let long = "x".repeat(SIZE_LIMIT as usize + 1);
        assert!(position_of_primary(with(&[("xtrabackup_binlog_info", &long)]).path(), Writer::XtraBackup).is_err());
    }
}

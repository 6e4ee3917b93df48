//! The list of lines that tell of a fault.
//!
//! Their sources, beside what was seen with mariadb-backup 10.11 and 11.8 and XtraBackup 2.3.5 and 2.4.20:
//!
//! * MariaDB, `storage/innobase/log/log0recv.cc`: `recv_init_missing_space` (a tablespace that is missing; many releases
//!   say it of `#sql` names only, and nothing of others: the inventory has to tell then), `recv_scan_log`, `recv_recovery_from_checkpoint_start`, `recv_rename_files`,
//!   `recv_init_crash_recovery_spaces`; `extra/mariabackup/xtrabackup.cc`: `xtrabackup_prepare_func`.
//! * XtraBackup 8.0 to 9.x, `storage/innobase/log/log0recv.cc`: `recv_recovery_from_checkpoint_start` (ER_IB_MSG_737),
//!   `recv_report_corrupt_log`; `srv/srv0start.cc`: `srv_start`, which only warns of tablespaces that are missing
//!   (ER_IB_MSG_1139); `xtrabackup/src/xtrabackup.cc`: `xtrabackup_prepare_func`.

use rustix::process::{Resource, getrlimit};

use crate::clone::method::backup_tool::Family;
use crate::model::exit::Reason;
use crate::sys::child::{is_about_long_file, is_about_space, names_error};
use crate::sys::limits;

/// What a line tells is wrong. The greater one is nearer to the cause of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A complaint that names no more than itself.
    Other,
    /// InnoDB did not start, in consequence of what it said before.
    NotStarted,
    /// A page or a file is not what it must be.
    Corrupt,
    /// The log ends early, or is damaged.
    Log,
    /// A file is missing, and what was to be done to it is left out.
    Missing,
    /// A file can't be read or written.
    Io,
    /// The server refuses the tool, or has gone.
    Server,
    /// No more files can be opened.
    Descriptors,
    /// The volume is full.
    VolumeFull,
    /// A limit of the container: threads, memory, the size of a file.
    Limit,
}

impl Fault {
    /// The exit code of a prepare that failed by it.
    pub fn reason(self) -> Reason {
        match self {
            Fault::VolumeFull => Reason::DiskFull,
            Fault::Limit | Fault::Descriptors => Reason::Limit,
            _ => Reason::Prepare,
        }
    }

    /// A line that told of it, with what to do where that is known.
    pub fn explained(self, line: &str) -> String {
        match self {
            Fault::VolumeFull => format!("the volume is full: {line}"),
            Fault::Descriptors => {
                let limit = getrlimit(Resource::Nofile);
                let shown = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
                format!(
                    "too many open files: raise the container's limit of file descriptors (soft {}, hard {}): {line}",
                    shown(limit.current),
                    shown(limit.maximum)
                )
            }
            Fault::Limit => match limits::told_by(line).or_else(|| limits::of_signal(libc::SIGXFSZ)) {
                Some(limit) => format!("{limit}: {line}"),
                None => line.to_owned(),
            },
            _ => line.to_owned(),
        }
    }
}

/// What one of the list's texts stands for, where all of its pieces are in a line.
type Known = (&'static [&'static str], Fault);

const BOTH: [Known; 6] = [
    // Damaged runs only (recorded with 2.3.5 and 2.4.20; MySQL's ER_IB_MSG_132 and MariaDB's buf0buf.cc).
    (&["log sequence number", "is in the future"], Fault::Log),
    (&["It is possible that the", "database is now corrupt"], Fault::Log),
    (&["Your database may be corrupt or you may have copied the InnoDB tablespace but not the"], Fault::Log),
    (&["CORRUPT LOG RECORD FOUND"], Fault::Log),
    (&["Database page corruption on disk or a failed"], Fault::Corrupt),
    (&["has the wrong space ID"], Fault::Corrupt),
];

const MARIADB: [Known; 13] = [
    (&["IO Error: ", " during write of "], Fault::Io),
    (&["IO Error: ", " during read of "], Fault::Io),
    (&["InnoDB: Cannot open '", ".ibd'"], Fault::Io),
    (&["Tablespace ", " was not found at ", "All redo log for this file will be ignored!"], Fault::Missing),
    (&["Unable to apply log to corrupt"], Fault::Corrupt),
    (&["Missing FILE_CHECKPOINT("], Fault::Log),
    (&["Missing FILE_CREATE, FILE_DELETE or FILE_MODIFY before FILE_CHECKPOINT"], Fault::Log),
    (&["Crash recovery was broken between LSN="], Fault::Log),
    (&["Log scan aborted at LSN"], Fault::Log),
    (&["We scanned the log up to"], Fault::Log),
    (&["The log was only applied up to LSN"], Fault::Log),
    (&["Cannot replay rename of tablespace"], Fault::Io),
    (&["srv_start() returned"], Fault::NotStarted),
];

const PERCONA: [Known; 12] = [
    (&["Could not find any file associated with the tablespace ID"], Fault::Missing),
    (&["Use --innodb-directories to find the tablespace files"], Fault::Missing),
    (&["could not open single-table tablespace file"], Fault::Missing),
    (&["We do not continue the crash recovery"], Fault::Missing),
    (&["missing MLOG_CHECKPOINT"], Fault::Log),
    (&["The transaction log file is corrupted"], Fault::Log),
    (&["The log was not applied to the intended LSN"], Fault::Log),
    (&["We scanned the log up to", "A checkpoint was at"], Fault::Log),
    (&["xtrabackup_init_temp_log() failed"], Fault::Log),
    (&["Encountered a problem with file"], Fault::Io),
    (&["innodb_init(): Error occured"], Fault::NotStarted),
    (&["innodb_init() error"], Fault::NotStarted),
];

/// Errors of the operating system that a copy doesn't outlive: EIO, EROFS, EBADMSG, ESTALE, EUCLEAN, EREMOTEIO. Others
/// come in good runs too: XtraBackup looks for files that may not be there (2).
const ERRORS: [u32; 6] = [5, 30, 74, 116, 117, 121];

/// The fault by which a line fails a prepare, where it does.
pub fn in_prepare(family: Family, line: &str) -> Option<Fault> {
    let by_number = || names_error(line, &ERRORS).then_some(Fault::Io);
    let by_family = || match family {
        // The name of a table that an ALTER was making: where it was done, the log has its final name.
        Family::Mariadb if line.contains("was not found at ") && line.contains("/#sql") => None,
        Family::Mariadb => listed(&MARIADB, line).or_else(|| line.contains("[ERROR]").then_some(Fault::Other)),
        Family::Percona => listed(&PERCONA, line),
    };
    let hangs = || never_ends(line).then_some(Fault::Limit);
    resources(line).or_else(hangs).or_else(|| listed(&BOTH, line)).or_else(by_number).or_else(by_family)
}

/// Lines that tell why a tool failed. That it did is told by its status.
const COMPLAINTS: [Known; 24] = [
    (&["failed to read metadata from"], Fault::Other),
    (&["cannot open ./xtrabackup_checkpoints"], Fault::Other),
    (&["Access denied"], Fault::Server),
    (&["Failed to connect to M"], Fault::Server),
    (&["Can't connect to "], Fault::Server),
    (&["failed to execute query"], Fault::Server),
    (&["Lost connection to "], Fault::Server),
    (&["requires GTID enabled for a multi-threaded"], Fault::Server),
    (&["Please upgrade"], Fault::Server),
    (&["is not supported by Percona XtraBackup"], Fault::Server),
    (&["Failed to validate first page"], Fault::Corrupt),
    (&["Database page corruption detected"], Fault::Corrupt),
    (&["failed to read page after"], Fault::Corrupt),
    (&["log block numbers mismatch"], Fault::Log),
    (&["Was only able to copy log from"], Fault::Log),
    (&["log files have been overwritten"], Fault::Log),
    (&["Error writing file"], Fault::Io),
    (&["Error reading file"], Fault::Io),
    (&["my_write() failed"], Fault::Io),
    (&["failed to copy datafile"], Fault::NotStarted),
    (&["xb_stream_write_data() failed"], Fault::NotStarted),
    (&["unknown option"], Fault::Server),
    (&["unknown variable"], Fault::Server),
    (&["Invalid --stream argument"], Fault::Server),
];

/// The fault that a line of a backup, or of a prepare that failed, names as the reason.
pub fn complaint(family: Family, line: &str) -> Option<Fault> {
    resources(line)
        .or_else(|| limits::told_by(line).map(|_| Fault::Limit))
        .or_else(|| listed(&COMPLAINTS, line))
        .or_else(|| in_prepare(family, line))
        .or_else(|| is_marked(line).then_some(Fault::Other))
}

/// Whether a tool that says this goes on for ever: mariadb-backup's pool waits for its first thread (10.11,
/// tpool/tpool_generic.cc).
pub fn never_ends(line: &str) -> bool {
    line.contains("threadpool thread could not be created") && line.trim_end().ends_with("in pool 0")
}

fn resources(line: &str) -> Option<Fault> {
    if limits::file_size().is_some() && is_about_long_file(line) {
        return Some(Fault::Limit);
    }
    if is_about_space(line) {
        return Some(Fault::VolumeFull);
    }
    // InnoDB adds 100 (5.7) or 200 (MariaDB) to the numbers that it has no name for.
    let is_about_files = line.contains("Too many open files")
        || names_error(line, &[23, 24])
        || ["OS error: 124", "OS error 224"].iter().any(|words| line.contains(words));
    is_about_files.then_some(Fault::Descriptors)
}

/// By the tool's own mark. `Error in my_thread_global_end()` is none: it follows from whatever failed before.
fn is_marked(line: &str) -> bool {
    let is_less = ["[Warning]", "[Note]"].iter().any(|mark| line.contains(mark));
    !is_less && ["[ERROR]", "Error: ", "error: ", "FATAL ERROR: "].iter().any(|mark| line.contains(mark))
}

fn listed(list: &[Known], line: &str) -> Option<Fault> {
    let is_in = |pieces: &[&str]| {
        pieces.iter().try_fold(line, |rest, piece| rest.split_once(piece).map(|(_, rest)| rest)).is_some()
    };
    list.iter().find(|(pieces, _)| is_in(pieces)).map(|(_, fault)| *fault)
}

#[cfg(test)]
mod tests;

//! Every line of a backup, as it passes.

use super::faults::{self, Fault};
use crate::clone::method::backup_tool::Family;
use crate::sys::child::{Examine, Importance};

/// Lines that tell of phases. Lines about one table each are none: a database may have tens of thousands.
const PHASES: [&str; 16] = [
    "Using server version",
    "Generating a list of tablespaces",
    "BACKUP STAGE",
    "Executing LOCK",
    "Executing FLUSH",
    "Executing UNLOCK",
    "All tables unlocked",
    "Acquiring BACKUP LOCKS",
    "Starting to backup non-InnoDB",
    "Finished backing up non-InnoDB",
    "binlog position",
    "The latest check point",
    "Stopping log copying",
    "Transaction log of lsn",
    "Redo log (from LSN",
    "completed OK!",
];

/// What the lines of one backup told.
#[derive(Debug)]
pub struct BackupLines {
    family: Family,
    complaint: Option<(Fault, String)>,
    explained: Option<String>,
    position: Option<String>,
    is_completed: bool,
}

impl BackupLines {
    pub(in crate::clone::method::backup_tool) fn of(family: Family) -> BackupLines {
        BackupLines { family, complaint: None, explained: None, position: None, is_completed: false }
    }

    /// Whether the tool said that it had done all.
    pub fn is_completed(&self) -> bool {
        self.is_completed
    }

    /// The line about the position of replication.
    pub fn position(&self) -> Option<&str> {
        self.position.as_deref()
    }
}

impl Examine for BackupLines {
    fn examine(&mut self, line: &str) -> Importance {
        self.is_completed |= line.contains("completed OK!");
        if line.contains("binlog position") {
            self.position = Some(line.to_owned());
        }
        if let Some(complaint) = faults::complaint(self.family, line) {
            if self.complaint.as_ref().is_none_or(|(known, _)| complaint > *known) {
                self.complaint = Some((complaint, line.to_owned()));
                self.explained = Some(complaint.explained(line));
            }
            return if faults::never_ends(line) { Importance::Fatal } else { Importance::Warning };
        }
        match line {
            _ if line.contains("[Warning]") || line.contains("Warning: ") => Importance::Warning,
            _ if PHASES.iter().any(|words| line.contains(words)) => Importance::Phase,
            _ => Importance::Detail,
        }
    }

    fn reason(&self) -> Option<&str> {
        self.explained.as_deref()
    }

    fn is_about_limit(&self) -> bool {
        self.complaint.as_ref().is_some_and(|(fault, _)| *fault == Fault::Limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As mariadb-backup 10.11 said it with a limit of 1,024 descriptors and 1,500 tables.
    #[test]
    fn the_descriptor_limit_is_named_and_not_what_follows_from_it() {
        let mut lines = BackupLines::of(Family::Mariadb);
        for line in [
            "2026-11-29  5:31:56 0 [Note] InnoDB: Using io_uring",
            "2026-11-29  5:31:56 0 [ERROR] InnoDB: Operating system error number 24 in a file operation.",
            "2026-11-29  5:31:56 0 [ERROR] InnoDB: Error number 24 means 'Too many open files'",
            "2026-11-29  5:31:56 0 [ERROR] InnoDB: File ./app/t400.ibd: 'open' returned OS error 224.",
            "2026-11-29  5:31:56 0 [Warning] InnoDB: Cannot open './app/t400.ibd'.",
            "[00] FATAL ERROR: 2026-11-29 05:31:55 Failed to validate first page of the file app/t400, error 61",
            "Error in my_thread_global_end(): 1 threads didn't exit",
        ] {
            lines.examine(line);
        }
        let reason = lines.reason().unwrap();
        assert!(reason.contains("too many open files") && reason.contains("soft "), "{reason}");
        assert!(!lines.is_completed());
    }

    #[test]
    fn lines_about_one_file_each_are_details() {
        for line in [
            "[00] 2026-11-29 05:30:08 DDL tracking : create 5 \"./app/t1.ibd\"",
            "[00] 2026-11-29 05:30:08 aria table file ./mysql/time_zone.MAI is copied successfully.",
            "[01] 2026-11-29 05:30:08 Streaming ./mysql/servers.frm to <STDOUT>",
            "[01] 2026-11-29 05:30:08         ...done",
            "2024-10-07T13:55:51 0 [Note] [MY-011825] [Xtrabackup] >> log scanned up to (19646156)",
        ] {
            assert_eq!(BackupLines::of(Family::Mariadb).examine(line), Importance::Detail, "{line}");
        }
    }

    /// As mariadb-backup 10.11 said it with 11 threads.
    #[test]
    fn a_tool_that_would_wait_for_ever_is_ended() {
        let mut lines = BackupLines::of(Family::Mariadb);
        let line = "2026-11-29 10:10:10 0 [Warning] InnoDB: threadpool thread could not be created :Resource temporarily \
                    unavailable,current number of threads in pool 0";
        assert_eq!(lines.examine(line), Importance::Fatal);
        assert!(lines.is_about_limit());
    }

    #[test]
    fn the_position_and_the_last_word_are_kept_however_much_follows() {
        let mut lines = BackupLines::of(Family::Percona);
        lines.examine("xtrabackup: MySQL binlog position: filename 'mysql-bin.000003', position '1385'");
        lines.examine("261125 11:26:00 completed OK!");
        for number in 0..1000 {
            lines.examine(&format!("[01] Streaming ./app/t{number}.ibd"));
        }
        assert!(lines.is_completed() && lines.position().is_some_and(|line| line.contains("1385")));
        assert_eq!(lines.reason(), None);
    }
}

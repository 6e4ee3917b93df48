//! Every line of a prepare, as it passes.

use super::faults::{self, Fault};
use super::reached::Reached;
use crate::clone::method::backup_tool::Family;
use crate::sys::child::{Examine, Importance};

/// Lines that tell of phases and of progress.
const PHASES: [&str; 15] = [
    "This target seems to be",
    "Starting InnoDB instance for recovery",
    "bytes for buffer pool",
    "Starting crash recovery",
    "scanned up to log sequence number",
    "Read redo log up to LSN=",
    "End of log at LSN=",
    "To recover: ",
    "pages from redo log",
    "apply batch of log records",
    "Applying a batch of",
    "Apply batch completed",
    "started; log sequence number",
    "New log files created",
    "completed OK!",
];

/// What the lines of one prepare told.
#[derive(Debug)]
pub struct PrepareLines {
    family: Family,
    fault: Option<(Fault, String)>,
    complaint: Option<(Fault, String)>,
    explained: Option<String>,
    reached: Reached,
    is_completed: bool,
    was_prepared: bool,
}

impl PrepareLines {
    pub fn of(family: Family) -> PrepareLines {
        PrepareLines {
            family,
            fault: None,
            complaint: None,
            explained: None,
            reached: Reached::default(),
            is_completed: false,
            was_prepared: false,
        }
    }

    /// What failed the copy, with the first line that told of it.
    pub fn fault(&self) -> Option<(Fault, &str)> {
        self.fault.as_ref().map(|(fault, line)| (*fault, &**line))
    }

    /// How far the backup's own log went.
    pub fn reached(&self) -> Option<u64> {
        self.reached.lsn(self.family)
    }

    /// Whether the tool said that it had done all.
    pub fn is_completed(&self) -> bool {
        self.is_completed
    }

    /// Whether the tool found the backup prepared already: then it tells nothing about the first time.
    pub fn was_prepared(&self) -> bool {
        self.was_prepared
    }
}

impl Examine for PrepareLines {
    fn examine(&mut self, line: &str) -> Importance {
        self.reached.see(line);
        self.is_completed |= line.contains("completed OK!");
        self.was_prepared |= line.contains("This target seems to be already prepared");
        if let Some(complaint) = faults::complaint(self.family, line)
            && self.complaint.as_ref().is_none_or(|(known, _)| complaint > *known)
        {
            self.complaint = Some((complaint, line.to_owned()));
            self.explained = Some(complaint.explained(line));
        }
        if let Some(fault) = faults::in_prepare(self.family, line) {
            if self.fault.as_ref().is_none_or(|(known, _)| fault > *known) {
                self.fault = Some((fault, line.to_owned()));
            }
            return Importance::Fatal;
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

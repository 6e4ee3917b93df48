//! Maps errors to exit codes, and keeps the reason for `kubectl describe pod`.
//!
//! Each intended failure of `mysqlset` has one [`Reason`]. Its number is the exit code and part of the interface,
//! as docs/reference/exit-codes.md lists them. An error without a reason ends with [`UNEXPECTED`].

use std::fmt;
use std::io;

use crate::model::event::Event;

/// Exit code of an error without a reason: a fault in `mysqlset` or in the machine.
pub const UNEXPECTED: u8 = 1;

/// Exit code of a probe that answers no.
pub const NO: u8 = 1;

/// Exit code after SIGTERM (128 + SIGTERM), as shells report it.
pub const TERMINATED: u8 = 143;

/// The reason for a command's failure. The discriminant is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// A flag or variable has an invalid value.
    Settings = 2,
    /// The hostname lacks an ordinal, or the ordinal gives an invalid server id.
    Identity = 10,
    /// The ConfigMap is missing, or has no file or two files for this pod's role.
    ConfigMap = 11,
    /// Writing the directory for the server's configuration failed.
    ConfigTarget = 12,
    /// Writing the target directory for the program failed.
    InstallTarget = 13,
    /// All donors failed to serve a complete backup before `--give-up-after`, or stream after stream broke.
    NoDonor = 20,
    /// Every donor that answered refused, for a lasting reason.
    Refused = 21,
    /// The data directory holds a half-made copy from outside `mysqlset`, or one that the primary must not
    /// finish.
    HalfMade = 30,
    /// The primary's first start was interrupted, so its leftovers are untrusted.
    FirstStartInterrupted = 31,
    /// The journal in the data directory is unreadable, or something other than a plain file.
    Journal = 32,
    /// Another `mysqlset`, or a backup tool that outlived one, works on the same data directory.
    Locked = 33,
    /// `mysqlset` runs as root and failed to determine the owner of the data directory.
    Owner = 34,
    /// The primary's volume is empty, and the set has data elsewhere or may have.
    PrimaryLost = 35,
    /// The volume holds another pod's data, which this pod cannot use.
    OtherPod = 36,
    /// The backup tool is missing here.
    NoBackupTool = 40,
    /// The backup tool failed to prepare the received backup.
    Prepare = 41,
    /// The backup lacks a position to start replication from.
    NoPosition = 42,
    /// The private server for MySQL's CLONE plugin failed to start or to stop.
    ScratchServer = 43,
    /// The server here fails to start on the copy, or to open all its tables.
    Rehearsal = 44,
    /// The volume is full.
    DiskFull = 50,
    /// Reading or writing the volume failed, or a strange file has the place of a plain file or directory.
    Disk = 51,
    /// A limit of the container is too low for the data, such as the number of open files.
    Limit = 52,
    /// A port of the sidecar is unavailable.
    Listen = 60,
}

impl Reason {
    /// An error that ends the command with this reason's exit code.
    pub fn error(self, message: impl fmt::Display) -> anyhow::Error {
        self.because(anyhow::Error::msg(message.to_string()))
    }

    /// The event that reports a failure for this reason.
    pub fn event(self) -> Event {
        match self {
            Reason::Settings => Event::ExitSettings,
            Reason::Identity => Event::ExitIdentity,
            Reason::ConfigMap => Event::ExitConfigMap,
            Reason::ConfigTarget => Event::ExitConfigTarget,
            Reason::InstallTarget => Event::ExitInstallTarget,
            Reason::NoDonor => Event::ExitNoDonor,
            Reason::Refused => Event::ExitRefused,
            Reason::HalfMade => Event::ExitHalfMade,
            Reason::FirstStartInterrupted => Event::ExitFirstStart,
            Reason::Journal => Event::ExitJournal,
            Reason::Locked => Event::ExitLocked,
            Reason::Owner => Event::ExitOwner,
            Reason::PrimaryLost => Event::ExitPrimaryLost,
            Reason::OtherPod => Event::ExitOtherPod,
            Reason::NoBackupTool => Event::ExitNoBackupTool,
            Reason::Prepare => Event::ExitPrepare,
            Reason::NoPosition => Event::ExitNoPosition,
            Reason::ScratchServer => Event::ExitScratchServer,
            Reason::Rehearsal => Event::ExitRehearsal,
            Reason::DiskFull => Event::ExitDiskFull,
            Reason::Disk => Event::ExitDisk,
            Reason::Limit => Event::ExitLimit,
            Reason::Listen => Event::ExitListen,
        }
    }

    /// Gives an existing error this reason's exit code. A limit named in the error takes precedence.
    pub fn because(self, source: impl Into<anyhow::Error>) -> anyhow::Error {
        let error = source.into();
        let is_limit = reason_of(&error) == Some(Reason::Limit);
        Failure { reason: if is_limit { Reason::Limit } else { self }, error }.into()
    }
}

/// An error with a known exit code.
#[derive(thiserror::Error)]
#[error("{error:#}")]
struct Failure {
    reason: Reason,
    error: anyhow::Error,
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {:#}", self.reason, self.error)
    }
}

/// The limit behind the error of a system call.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Reached(String);

impl Reached {
    /// The limit, described with its remedy.
    pub fn limit(words: String) -> Reached {
        Reached(words)
    }

    /// Whether an error names a limit.
    pub fn is_in(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Reached>())
    }
}

/// The reason of an error, if it has one. A limit that the error names counts as a reason.
pub fn reason_of(error: &anyhow::Error) -> Option<Reason> {
    error.chain().find_map(|cause| {
        let limit = || cause.downcast_ref().filter(|error| Reached::is_in(error)).map(|_| Reason::Limit);
        cause.downcast_ref::<Failure>().map(|failure| failure.reason).or_else(limit)
    })
}

/// The exit code for an error.
pub fn code_of(error: &anyhow::Error) -> u8 {
    reason_of(error).map_or(UNEXPECTED, |reason| reason as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_reason_survives_the_context_put_around_it() {
        let error = Err::<(), _>(Reason::ConfigMap.error("no such map")).context("starting").unwrap_err();
        assert_eq!(code_of(&error), 11);
        assert_eq!(format!("{error:#}"), "starting: no such map");
    }

    #[test]
    fn an_error_without_a_reason_is_unexpected() {
        assert_eq!(code_of(&anyhow::anyhow!("odd")), UNEXPECTED);
    }
}

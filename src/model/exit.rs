//! Outcome → exit code, and the reason where `kubectl describe pod` shows it.
//!
//! Every way in which `mysqlset` gives up on purpose is one [`Reason`]; its number is the exit code and part of the
//! interface (docs/reference/exit-codes.md lists them). Whatever carries no reason ends with [`UNEXPECTED`].

use std::fmt;
use std::io;

use crate::model::event::Event;

/// Exit code of an error that nobody gave a reason to: a fault in `mysqlset` or in the machine.
pub const UNEXPECTED: u8 = 1;

/// Exit code of a probe whose answer is no.
pub const NO: u8 = 1;

/// Exit code of a process that was told to stop (128 + SIGTERM), as shells report it.
pub const TERMINATED: u8 = 143;

/// Why a command gave up. The discriminant is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// A flag or variable has a value that cannot be used.
    Settings = 2,
    /// The hostname has no ordinal, or the ordinal gives no valid server id.
    Identity = 10,
    /// The config map is missing, or it holds no file, or two files, for this pod's role.
    ConfigMap = 11,
    /// The directory for the server's configuration cannot be written.
    ConfigTarget = 12,
    /// The directory that the program shall be copied to cannot be written.
    InstallTarget = 13,
    /// No donor gave a whole backup before `--give-up-after` ran out, or stream after stream broke.
    NoDonor = 20,
    /// Every donor that could be asked refused for a reason that waiting does not mend.
    Refused = 21,
    /// The data directory holds a half-made copy that `mysqlset` did not make, or one that the primary may not finish.
    HalfMade = 30,
    /// The primary's first start was interrupted; what it left cannot be trusted.
    FirstStartInterrupted = 31,
    /// The journal in the data directory cannot be understood, or is no plain file.
    Journal = 32,
    /// Another `mysqlset`, or a backup tool that outlived one, works on the same data directory.
    Locked = 33,
    /// `mysqlset` runs as root and cannot tell whose the data directory should be.
    Owner = 34,
    /// The primary's volume is empty, and the set has data elsewhere or may have.
    PrimaryLost = 35,
    /// The volume holds another pod's data, which this one can't go on with.
    OtherPod = 36,
    /// No backup tool is installed where it is needed.
    NoBackupTool = 40,
    /// The backup tool could not prepare what was received.
    Prepare = 41,
    /// The backup carries no position that replication could start from.
    NoPosition = 42,
    /// The server that `clone` itself runs for MySQL's CLONE plugin could not be started, or not be stopped.
    OwnServer = 43,
    /// The server here can't start on the copy, or can't open all of its tables.
    Rehearsal = 44,
    /// The volume is full.
    DiskFull = 50,
    /// The volume cannot be read or written, or something strange has the place of a plain file or directory.
    Disk = 51,
    /// A limit of the container is too low for the data, such as the number of open files.
    Limit = 52,
    /// A port that the sidecar listens on cannot be had.
    Listen = 60,
}

impl Reason {
    /// An error that ends the command with this reason's exit code.
    pub fn error(self, message: impl fmt::Display) -> anyhow::Error {
        self.because(anyhow::Error::msg(message.to_string()))
    }

    /// The event by which a command that gave up for it ends.
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
            Reason::OwnServer => Event::ExitOwnServer,
            Reason::Rehearsal => Event::ExitRehearsal,
            Reason::DiskFull => Event::ExitDiskFull,
            Reason::Disk => Event::ExitDisk,
            Reason::Limit => Event::ExitLimit,
            Reason::Listen => Event::ExitListen,
        }
    }

    /// Gives an error that already exists this reason's exit code, unless a limit is the reason.
    pub fn because(self, source: impl Into<anyhow::Error>) -> anyhow::Error {
        let source = source.into();
        let is_limit = reason_of(&source) == Some(Reason::Limit);
        Failure { reason: if is_limit { Reason::Limit } else { self }, source }.into()
    }
}

/// An error whose exit code is known.
struct Failure {
    reason: Reason,
    source: anyhow::Error,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.source)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {:#}", self.reason, self.source)
    }
}

impl std::error::Error for Failure {}

/// In an error of a system call: the limit that it failed by.
#[derive(Debug)]
pub struct Reached(String);

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Reached {}

impl Reached {
    /// The limit, in words that say what raises it.
    pub fn limit(words: String) -> Reached {
        Reached(words)
    }

    /// Whether an error names a limit.
    pub fn is_in(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Reached>())
    }
}

/// The reason that an error carries, if any. A limit that it names is one, whoever met it.
pub fn reason_of(error: &anyhow::Error) -> Option<Reason> {
    error.chain().find_map(|cause| {
        let limit = || cause.downcast_ref().filter(|error| Reached::is_in(error)).map(|_| Reason::Limit);
        cause.downcast_ref::<Failure>().map(|failure| failure.reason).or_else(limit)
    })
}

/// The exit code that an error ends the process with.
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

//! How a child ended, in words.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;

use super::examiner::{Examine, Marked};
use super::memory::Ceiling;
use crate::sys::limits;

/// How a child ended, and what its lines told.
#[derive(Debug)]
pub struct Ended<E = Marked> {
    pub status: ExitStatus,
    pub lines: E,
    /// Whether one of its lines had it killed.
    pub was_stopped: bool,
    /// The memory ceiling that we killed it for, if we did.
    pub(super) outgrown: Option<Ceiling>,
    /// How long it was idle before we killed it for that.
    pub(super) hung_for: Option<Duration>,
}

impl<E: Examine> Ended<E> {
    /// The end with its reason, if the child gave one: `ended with 1: no such table`.
    pub fn why(&self) -> String {
        match self.lines.reason() {
            Some(reason) => format!("{}: {reason}", self.in_words()),
            None => self.in_words(),
        }
    }

    /// Whether it failed at a limit of the container: by its signal, or by a line it wrote.
    pub fn met_limit(&self) -> bool {
        !self.status.success()
            && (self.status.signal().and_then(limits::of_signal).is_some() || self.lines.is_about_limit())
    }
}

impl<E> Ended<E> {
    /// The end in words: `ended with 1`, `was killed by signal 15`.
    pub fn in_words(&self) -> String {
        match (self.outgrown, self.status.code(), self.status.signal()) {
            (Some(ceiling), ..) => ceiling.in_words(),
            _ if self.was_stopped => "was stopped".to_owned(),
            _ if let Some(time) = self.hung_for => {
                format!("was killed: it hung, without any output, reads or writes for {} seconds", time.as_secs())
            }
            (None, Some(code), _) => format!("ended with {code}"),
            (None, None, Some(signal)) => {
                let limit = limits::of_signal(signal).map(|limit| format!(" ({limit})")).unwrap_or_default();
                format!("was killed by signal {signal}{limit}")
            }
            (None, None, None) => "ended".to_owned(),
        }
    }

    /// Whether another process killed it, as the OOM killer does.
    pub fn was_killed(&self) -> bool {
        self.outgrown.is_none() && !self.was_stopped && self.hung_for.is_none() && is_kill(self.status)
    }

    /// Whether memory may have ended it: we killed it for that, or it got SIGKILL from outside, as from the OOM
    /// killer.
    pub fn may_have_outgrown(&self) -> bool {
        self.outgrown.is_some() || self.was_killed()
    }

    /// Whether it was ended from outside in the middle of its work. A fault of its own does not count.
    pub fn was_interrupted(&self) -> bool {
        let from_outside = [Signal::KILL, Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT];
        !self.was_stopped
            && self.hung_for.is_none()
            && from_outside.iter().any(|signal| self.status.signal() == Some(signal.as_raw()))
    }
}

pub(super) fn is_kill(status: ExitStatus) -> bool {
    status.signal() == Some(Signal::KILL.as_raw())
}

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
    /// Whether it was killed for one of its lines.
    pub was_stopped: bool,
    /// What it was killed for by us, where it was.
    pub(super) outgrown: Option<Ceiling>,
    /// How long it did nothing before it was killed for that.
    pub(super) hung_for: Option<Duration>,
}

impl<E: Examine> Ended<E> {
    /// The end with its reason, where the child named one: `ended with 1: no such table`.
    pub fn why(&self) -> String {
        match self.lines.reason() {
            Some(reason) => format!("{}: {reason}", self.in_words()),
            None => self.in_words(),
        }
    }

    /// Whether it failed by a limit of the container's: by its signal, or by its own word.
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
                format!("was killed: it hung, for it said, read and wrote nothing for {} seconds", time.as_secs())
            }
            (None, Some(code), _) => format!("ended with {code}"),
            (None, None, Some(signal)) => {
                let limit = limits::of_signal(signal).map(|limit| format!(" ({limit})")).unwrap_or_default();
                format!("was killed by signal {signal}{limit}")
            }
            (None, None, None) => "ended".to_owned(),
        }
    }

    /// Whether somebody else killed it, as the kernel does to whoever takes too much memory.
    pub fn was_killed(&self) -> bool {
        self.outgrown.is_none() && !self.was_stopped && self.hung_for.is_none() && is_kill(self.status)
    }

    /// Whether it ended for its memory: killed by us, or by somebody who gave no reason, as the kernel does.
    pub fn may_have_outgrown(&self) -> bool {
        self.outgrown.is_some() || self.was_killed()
    }

    /// Whether it was ended from outside, in the middle of what it did, and not by a fault of its own.
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

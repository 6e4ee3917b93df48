//! A primary that was found to be the tutorial's, and is followed all the same. Each question ends its container, by its
//! `ncat`, and Kubernetes waits longer before each next start; so the answer is remembered.

use std::time::{Duration, Instant};

use crate::server::status::Thread;

/// How long a primary that can't be connected to counts as what it was.
const UNCONNECTED: Duration = Duration::from_secs(300);

/// What is remembered of the answer.
#[derive(Debug, Default)]
pub struct Trust {
    since: Option<Instant>,
    /// Whether the receiver has had a connection since. While that stands the primary can't have been replaced.
    has_connected: bool,
}

impl Trust {
    /// The primary was asked: whether it is trusted.
    pub fn answered(&mut self, is_trusted: bool, now: Instant) {
        *self = Trust { since: is_trusted.then_some(now), has_connected: false };
    }

    /// The receiver was looked at: a connection that was lost may be made anew to another.
    pub fn notice(&mut self, receiver: Thread) {
        match receiver {
            Thread::Running => self.has_connected = true,
            Thread::Connecting | Thread::Stopped if self.has_connected => *self = Trust::default(),
            Thread::Connecting | Thread::Stopped => {}
        }
    }

    /// Whether the primary needn't be asked.
    pub fn holds(&self, now: Instant) -> bool {
        self.since.is_some_and(|since| self.has_connected || now.duration_since(since) < UNCONNECTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_answer_is_enough_while_the_connection_stands() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut trust = Trust::default();
        assert!(!trust.holds(begin));
        trust.answered(true, begin);
        trust.notice(Thread::Stopped);
        trust.notice(Thread::Connecting);
        assert!(trust.holds(at(299)) && !trust.holds(at(300)));
        trust.notice(Thread::Running);
        assert!(trust.holds(at(86400)));
        trust.notice(Thread::Connecting);
        assert!(!trust.holds(at(86401)), "the primary may have been replaced");
        trust.answered(false, begin);
        assert!(!trust.holds(begin));
    }
}

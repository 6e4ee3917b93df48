//! Remembers that the primary is the tutorial's and is followed all the same. Each question ends its container, because
//! of its `ncat`, and Kubernetes waits longer before each next start. So one answer has to last.

use std::time::{Duration, Instant};

use crate::server::status::Thread;

/// How long the answer counts while the receiver fails to connect.
const UNCONNECTED: Duration = Duration::from_secs(300);

/// The remembered answer.
#[derive(Debug, Default)]
pub struct Trust {
    since: Option<Instant>,
    /// Whether the receiver has had a connection since. While that connection stands, the primary is still the same.
    has_connected: bool,
}

impl Trust {
    /// Records an answer: whether the primary is trusted.
    pub fn answered(&mut self, is_trusted: bool, now: Instant) {
        *self = Trust { since: is_trusted.then_some(now), has_connected: false };
    }

    /// Records a look at the receiver: after a lost connection the next one may lead to another primary.
    pub fn notice(&mut self, receiver: Thread) {
        match receiver {
            Thread::Running => self.has_connected = true,
            Thread::Connecting | Thread::Stopped if self.has_connected => *self = Trust::default(),
            Thread::Connecting | Thread::Stopped => {}
        }
    }

    /// Whether the answer still counts, which saves a question.
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

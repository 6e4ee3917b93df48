//! A source that refuses the replica's account: said once with the remedy. After a time the replica is not ready, for its data
//! are as old as the refusal.

use std::time::{Duration, Instant};

use crate::model::event::{Cause, Event, warn};
use crate::server::status::{ReplicationStatus, Thread};
use crate::server::trouble::{Recurring, Trouble};

/// A refusal that was not seen for so long is over.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// The refusal that lasts.
#[derive(Debug, Default)]
pub struct Refused {
    since: Option<Instant>,
    /// When it was last seen.
    seen: Option<Instant>,
    said: Recurring,
}

impl Refused {
    /// Looks at the receiver; returns why the replica is not ready, where it has been refused for longer than `limit`.
    pub fn look(&mut self, replication: Option<&ReplicationStatus>, limit: Duration) -> Option<Cause> {
        let Some((replication, refusal)) = replication.and_then(|status| Some((status, status.refusal()?))) else {
            // A receiver that is started again, or whose source is away for a moment, has no number for a while.
            let runs = replication.is_none_or(|status| status.receiver == Thread::Running);
            if runs || self.seen.is_none_or(|at| at.elapsed() > FORGOTTEN) {
                *self = Refused::default();
            }
            return None;
        };
        self.seen = Some(Instant::now());
        let since = *self.since.get_or_insert_with(Instant::now);
        let cause = Event::ReplicationRefused.because(format!(
            "{} refuses the account {:?} of replication ({}): {}",
            replication.source_host,
            replication.source_user,
            replication.receiver_error_text,
            refusal.remedy()
        ));
        let trouble = Trouble { cause, code: u16::try_from(replication.receiver_error).ok() };
        if self.said.is_news(&trouble) {
            warn!(ReplicationRefused, code = trouble.code, "{}", trouble.cause);
        }
        (since.elapsed() >= limit).then_some(trouble.cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_counts_after_its_time_and_until_the_receiver_runs() {
        let mut refused = Refused::default();
        let mut status =
            ReplicationStatus { receiver: Thread::Connecting, receiver_error: 1862, ..ReplicationStatus::default() };
        assert_eq!(refused.look(Some(&status), Duration::from_secs(60)), None);
        let cause = refused.look(Some(&status), Duration::ZERO).unwrap();
        assert!(cause.text.contains("PASSWORD EXPIRE NEVER"), "{cause}");
        // Its number stays for a while.
        status.receiver = Thread::Running;
        assert_eq!(refused.look(Some(&status), Duration::ZERO), None);
        (status.receiver, status.receiver_error) = (Thread::Connecting, 2003);
        assert_eq!(refused.look(Some(&status), Duration::ZERO), None);
    }
}

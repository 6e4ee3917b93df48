//! How fast a donor may send.

use std::time::{Duration, Instant};

/// Frames a second, so that a slow pace is an even one.
const FRAMES: u64 = 8;

/// Shorter frames are more header than data.
const LEAST_FRAME: u64 = 4 << 10;

/// A limit in bytes a second, or none.
pub struct Pace {
    limit: Option<u64>,
    /// When the next byte may be sent.
    next: Instant,
}

impl Pace {
    pub fn new(limit: Option<u64>) -> Pace {
        Pace { limit, next: Instant::now() }
    }

    /// How long frames may be, in bytes.
    pub fn frame_limit(&self) -> usize {
        let limit = self.limit.map_or(u64::MAX, |limit| (limit / FRAMES).max(LEAST_FRAME));
        usize::try_from(limit).unwrap_or(usize::MAX)
    }

    /// Takes note of bytes sent, and of when that began. What was not sent in time is not made up for.
    pub fn spent(&mut self, bytes: u64, since: Instant) {
        if let Some(limit) = self.limit {
            let takes = Duration::from_secs_f64(bytes as f64 / limit as f64);
            self.next = self.next.max(since) + takes;
        }
    }

    /// How long to wait before more is sent.
    pub fn wait(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_has_to_be_waited_for() {
        let mut pace = Pace::new(Some(1000));
        assert_eq!(pace.wait(), Duration::ZERO);
        pace.spent(60_000, Instant::now());
        pace.spent(60_000, Instant::now());
        assert!(pace.wait() > Duration::from_secs(110) && pace.wait() <= Duration::from_secs(120));
        assert_eq!(pace.frame_limit() as u64, LEAST_FRAME);
    }

    #[test]
    fn a_time_in_which_nothing_came_is_not_made_up_for() {
        let mut pace = Pace::new(Some(1000));
        pace.spent(1000, Instant::now() + Duration::from_secs(60));
        assert!(pace.wait() > Duration::from_secs(60));
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        let mut pace = Pace::new(None);
        pace.spent(u64::MAX, Instant::now());
        assert_eq!(pace.wait(), Duration::ZERO);
        assert_eq!(pace.frame_limit(), usize::MAX);
    }
}

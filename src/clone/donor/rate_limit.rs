//! The donor's rate limit.

use std::time::{Duration, Instant};

/// Frames a second, so that a low rate is a steady one.
const FRAMES: u64 = 8;

/// Shorter frames are more header than data.
const LEAST_FRAME: u64 = 4 << 10;

/// A rate limit in bytes a second. `None` is unlimited.
pub struct RateLimit {
    limit: Option<u64>,
    /// Time from which the next byte may be sent.
    next: Instant,
}

impl RateLimit {
    pub fn new(limit: Option<u64>) -> RateLimit {
        RateLimit { limit, next: Instant::now() }
    }

    /// The longest frame in bytes.
    pub fn frame_limit(&self) -> usize {
        let limit = self.limit.map_or(u64::MAX, |limit| (limit / FRAMES).max(LEAST_FRAME));
        usize::try_from(limit).unwrap_or(usize::MAX)
    }

    /// Records bytes sent since `since`. Unused time is lost: the rate stays at the limit after a pause.
    pub fn spent(&mut self, bytes: u64, since: Instant) {
        if let Some(limit) = self.limit {
            let takes = Duration::from_secs_f64(bytes as f64 / limit as f64);
            self.next = self.next.max(since) + takes;
        }
    }

    /// How long to wait before sending more.
    pub fn wait(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sent_bytes_have_to_be_waited_for() {
        let mut limit = RateLimit::new(Some(1000));
        assert_eq!(limit.wait(), Duration::ZERO);
        limit.spent(60_000, Instant::now());
        limit.spent(60_000, Instant::now());
        assert!(limit.wait() > Duration::from_secs(110) && limit.wait() <= Duration::from_secs(120));
        assert_eq!(limit.frame_limit() as u64, LEAST_FRAME);
    }

    #[test]
    fn a_pause_earns_no_faster_rate_later() {
        let mut limit = RateLimit::new(Some(1000));
        limit.spent(1000, Instant::now() + Duration::from_secs(60));
        assert!(limit.wait() > Duration::from_secs(60));
    }

    #[test]
    fn an_unlimited_rate_never_waits() {
        let mut limit = RateLimit::new(None);
        limit.spent(u64::MAX, Instant::now());
        assert_eq!(limit.wait(), Duration::ZERO);
        assert_eq!(limit.frame_limit(), usize::MAX);
    }
}

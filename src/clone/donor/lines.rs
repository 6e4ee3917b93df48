//! Limits log lines about refused connections: a number of lines in each period, and a count of the rest.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines about strangers in each period.
const OF_STRANGERS: u32 = 20;

/// Lines about proven peers in each period: enough for a set of 20 pods whose donor is busy.
const OF_PEERS: u32 = 100;

/// Length of the period.
pub const WHILE: Duration = Duration::from_secs(10);

/// Log lines of the current period.
pub struct Lines {
    most: u32,
    of_late: Mutex<Said>,
}

struct Said {
    since: Instant,
    said: u32,
    unsaid: u64,
}

impl Lines {
    pub fn of_strangers() -> Lines {
        Lines::of(OF_STRANGERS)
    }

    pub fn of_peers() -> Lines {
        Lines::of(OF_PEERS)
    }

    fn of(most: u32) -> Lines {
        Lines { most, of_late: Mutex::new(Said { since: Instant::now(), said: 0, unsaid: 0 }) }
    }

    /// Whether another line fits into the period. If it does not, it is counted.
    pub fn may_say(&self) -> bool {
        self.may_say_at(Instant::now())
    }

    fn may_say_at(&self, now: Instant) -> bool {
        let mut of_late = self.of_late.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(of_late.since) >= WHILE {
            (of_late.since, of_late.said) = (now, 0);
        }
        if of_late.said < self.most {
            of_late.said += 1;
            return true;
        }
        of_late.unsaid += 1;
        false
    }

    /// Returns how many lines were left out since the last call.
    pub fn take_unsaid(&self) -> u64 {
        std::mem::take(&mut self.of_late.lock().unwrap_or_else(PoisonError::into_inner).unsaid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_gets_its_lines_and_the_rest_is_counted() {
        for (lines, most) in [(Lines::of_strangers(), 20), (Lines::of_peers(), 100)] {
            let now = Instant::now();
            assert_eq!((0..1000).filter(|_| lines.may_say_at(now)).count(), most);
            assert_eq!((lines.take_unsaid(), lines.take_unsaid()), (1000 - most as u64, 0));
            assert!(lines.may_say_at(now + WHILE));
        }
    }
}

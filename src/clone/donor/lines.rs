//! Log lines about connections that get nothing: so many in a while, and the rest counted.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines about strangers in a while.
const OF_STRANGERS: u32 = 20;

/// And about peers that have proven themselves: all that a set of 20 pods needs whose donor is busy.
const OF_PEERS: u32 = 100;

/// That while.
pub const WHILE: Duration = Duration::from_secs(10);

/// What was said of late.
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

    /// Whether there is room for another; it is counted otherwise.
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

    /// How many were not said since this was last asked.
    pub fn take_unsaid(&self) -> u64 {
        std::mem::take(&mut self.of_late.lock().unwrap_or_else(PoisonError::into_inner).unsaid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_has_its_lines_and_is_counted_beyond_them() {
        for (lines, most) in [(Lines::of_strangers(), 20), (Lines::of_peers(), 100)] {
            let now = Instant::now();
            assert_eq!((0..1000).filter(|_| lines.may_say_at(now)).count(), most);
            assert_eq!((lines.take_unsaid(), lines.take_unsaid()), (1000 - most as u64, 0));
            assert!(lines.may_say_at(now + WHILE));
        }
    }
}

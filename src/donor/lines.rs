//! Log lines about strangers: so many in a while, and the rest counted.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines in a while. Honest peers do not need as many.
const MOST: u32 = 20;

/// That while.
pub const WHILE: Duration = Duration::from_secs(10);

/// What was said of late.
pub struct Lines(Mutex<Said>);

struct Said {
    since: Instant,
    said: u32,
    unsaid: u64,
}

impl Default for Lines {
    fn default() -> Lines {
        Lines(Mutex::new(Said { since: Instant::now(), said: 0, unsaid: 0 }))
    }
}

impl Lines {
    /// Whether there is room for another; it is counted otherwise.
    pub fn may_say(&self) -> bool {
        self.may_say_at(Instant::now())
    }

    fn may_say_at(&self, now: Instant) -> bool {
        let mut of_late = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(of_late.since) >= WHILE {
            (of_late.since, of_late.said) = (now, 0);
        }
        if of_late.said < MOST {
            of_late.said += 1;
            return true;
        }
        of_late.unsaid += 1;
        false
    }

    /// How many were not said since this was last asked.
    pub fn take_unsaid(&self) -> u64 {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).unsaid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_has_its_lines_and_is_counted_beyond_them() {
        let (lines, now) = (Lines::default(), Instant::now());
        assert_eq!((0..1000).filter(|_| lines.may_say_at(now)).count(), MOST as usize);
        assert_eq!((lines.take_unsaid(), lines.take_unsaid()), (1000 - u64::from(MOST), 0));
        assert!(lines.may_say_at(now + WHILE));
    }
}

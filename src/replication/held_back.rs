//! How long a replica's receiver has waited until the primary says which set its data are of, and whether that is too long.

use std::time::{Duration, Instant};

use crate::datadir::journal::now;
use crate::observe::status::Snapshot;

/// Since when it waits.
#[derive(Default)]
pub struct HeldBack {
    /// In seconds since 1970 too.
    since: Option<(Instant, u64)>,
    /// Since when somebody was there all the same.
    beside_somebody: Option<Instant>,
}

impl HeldBack {
    /// Notes whether it waits, and whether somebody is there. A primary that is away keeps nobody from reading.
    pub fn note(&mut self, waits: bool, is_somebody_there: bool) {
        let since = self.since.take().filter(|_| waits);
        self.since = since.or_else(|| waits.then(|| (Instant::now(), now())));
        let beside = self.beside_somebody.take().filter(|_| waits && is_somebody_there);
        self.beside_somebody = beside.or_else(|| (waits && is_somebody_there).then(Instant::now));
    }

    /// Says so. Longer than `most` is too long.
    pub fn tell(&self, snapshot: &mut Snapshot, most: Duration) {
        snapshot.held_back_since = self.since.map(|(_, at)| at);
        snapshot.held_back_too_long = self.beside_somebody.is_some_and(|since| since.elapsed() > most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ordinal::Role;
    use crate::observe::status::Status;

    #[test]
    fn only_a_primary_that_is_there_makes_it_too_long() {
        let status = Status::new("mysql-1".into(), Role::Replica);
        let told = |held_back: &HeldBack| {
            status.update(|snapshot| held_back.tell(snapshot, Duration::ZERO));
            std::thread::sleep(Duration::from_millis(1));
            status.update(|snapshot| held_back.tell(snapshot, Duration::ZERO));
            let snapshot = status.get();
            (snapshot.held_back_since.is_some(), snapshot.held_back_too_long)
        };
        let mut held_back = HeldBack::default();
        for ((waits, is_somebody_there), expected) in [
            ((false, true), (false, false)),
            ((true, false), (true, false)),
            ((true, true), (true, true)),
            ((true, false), (true, false)),
            ((false, false), (false, false)),
        ] {
            held_back.note(waits, is_somebody_there);
            assert_eq!(told(&held_back), expected, "{waits} {is_somebody_there}");
        }
    }

    #[test]
    fn it_counts_from_the_first_look() {
        let mut held_back = HeldBack::default();
        held_back.note(true, true);
        let first = (held_back.since, held_back.beside_somebody);
        std::thread::sleep(Duration::from_millis(1));
        held_back.note(true, true);
        assert_eq!((held_back.since, held_back.beside_somebody), first);
    }
}

//! Retries: tries the donors in rounds until one sends a complete backup or nothing has moved for too long.
//!
//! Two events count as progress. One is a "busy" donor, for a while: it is up, and its slot will become free. The other
//! is a stream that came clearly further than any before. A donor that is unreachable or unready brings none. A stream
//! that moved and broke pauses the clock, and only a few of those in a row are allowed.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Means, Received, Setback, receive};
use crate::clone::connection::Asker;
use crate::model::event::{info, warn};
use crate::model::exit::Reason;
use crate::model::host::HostPort;
use crate::protocol::message::Why;

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Streams in a row that may break at an early point.
const BROKEN_STREAMS: u32 = 5;

/// "Busy" counts as progress for this many times the recipient's patience: an hour by default. A slot held longer is
/// probably held wrongly, and a container that ends makes that visible.
const BUSY_TIMES: u32 = 6;

/// A stream is further than an earlier one by at least one part in this many. A donor that always fails at the end gets
/// slightly further each time, because its database grows.
const FURTHER: u64 = 10;

/// Receives from the first donor that sends a complete backup.
pub fn receive_from_any(
    asker: &Asker<'_>,
    donors: &[HostPort],
    give_up_after: Duration,
    means: &Means<'_>,
) -> Result<Received> {
    let mut patience = Patience::new(give_up_after);
    let mut are_legacy = vec![false; donors.len()];
    loop {
        let mut setbacks = Vec::new();
        for (donor, is_legacy) in donors.iter().zip(&mut are_legacy) {
            let began = Instant::now();
            match receive(asker, donor, is_legacy, means) {
                Ok(received) => return Ok(received),
                Err(Setback::Fatal(error)) => return Err(error),
                Err(Setback::Refused(refusal)) if refusal.why == Why::NoRoom => {
                    return Err(Reason::DiskFull.error(format!("{donor}: {}", refusal.text)));
                }
                Err(setback) => {
                    patience.notice(&setback, began.elapsed());
                    let refusal = match &setback {
                        Setback::Refused(refusal) => Some(refusal.event.as_str()),
                        _ => None,
                    };
                    info!(ReceiveSetback, %donor, kind = setback.into_str(), refusal, "cannot clone from this donor: {setback}");
                    setbacks.push((donor, setback));
                }
            }
        }
        if setbacks.iter().all(|(_, setback)| is_final(setback)) {
            if let Some((donor, Setback::Unusable(error))) =
                setbacks.pop_if(|(_, last)| matches!(last, Setback::Unusable(_)))
            {
                return Err(error.context(donor.to_string()));
            }
            return Err(Reason::Refused.error(format!("no donor can serve a clone: {}", in_words(&setbacks))));
        }
        let pause = patience.pause(&setbacks).map_err(|why| {
            Reason::NoDonor.error(format!("no donor sent a complete clone, and {why}: {}", in_words(&setbacks)))
        })?;
        if pause > Duration::from_secs(1) {
            warn!(ReceiveRetry, seconds = pause.as_secs_f64(), "retrying all donors");
        }
        std::thread::sleep(pause);
    }
}

/// Whether a donor's answer will stay the same.
fn is_final(setback: &Setback) -> bool {
    match setback {
        Setback::Refused(refusal) => !refusal.why.may_pass(),
        Setback::Unacceptable(_) | Setback::Unusable(_) | Setback::Fatal(_) => true,
        Setback::Unreachable(_) | Setback::Broken { .. } => false,
    }
}

fn in_words(setbacks: &[(&HostPort, Setback)]) -> String {
    let words: Vec<String> = setbacks.iter().map(|(donor, setback)| format!("{donor}: {setback}")).collect();
    words.join("; ")
}

/// How long to wait before the next round, and when to give up.
struct Patience {
    give_up_after: Duration,
    last_progress: Instant,
    /// Since when donors have been busy while nothing else moved.
    busy_since: Option<Instant>,
    furthest: u64,
    broken_streams: u32,
    next_pause: Duration,
}

impl Patience {
    fn new(give_up_after: Duration) -> Patience {
        Patience {
            give_up_after,
            last_progress: Instant::now(),
            busy_since: None,
            furthest: 0,
            broken_streams: 0,
            next_pause: FIRST_PAUSE,
        }
    }

    /// Records an attempt that lasted `took`.
    fn notice(&mut self, setback: &Setback, took: Duration) {
        match setback {
            Setback::Refused(refusal) if refusal.why == Why::Busy => {
                let since = *self.busy_since.get_or_insert_with(Instant::now);
                if since.elapsed() < self.give_up_after.saturating_mul(BUSY_TIMES) {
                    self.progress();
                }
            }
            Setback::Broken { bytes, .. } if *bytes > self.furthest + self.furthest / FURTHER => {
                self.furthest = *bytes;
                self.busy_since = None;
                self.progress();
            }
            Setback::Broken { bytes: 1.., .. } => {
                self.last_progress += took;
                self.broken_streams += 1;
            }
            _ => {}
        }
    }

    fn progress(&mut self) {
        self.last_progress = Instant::now();
        self.broken_streams = 0;
        self.next_pause = FIRST_PAUSE;
    }

    /// The pause before the next round, or why to give up.
    fn pause(&mut self, setbacks: &[(&HostPort, Setback)]) -> Result<Duration, String> {
        let asked_for = setbacks.iter().filter_map(|(_, setback)| match setback {
            Setback::Refused(refusal) => refusal.retry_after.map(Duration::from_secs),
            _ => None,
        });
        let pause = asked_for.min().unwrap_or(self.next_pause).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        self.next_pause = (self.next_pause * 2).min(LONGEST_PAUSE);
        let left = self.give_up_after.saturating_sub(self.last_progress.elapsed());
        if self.broken_streams >= BROKEN_STREAMS {
            Err(format!("{} streams in a row broke without getting further", self.broken_streams))
        } else if left.is_zero() {
            Err(format!("nothing has moved for {} seconds", self.give_up_after.as_secs()))
        } else {
            Ok(pause.min(left))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::Event;
    use crate::protocol::message::Refusal;

    fn donor() -> HostPort {
        HostPort { host: "mysql-0.mysql".into(), port: 3307 }
    }

    fn refusal(why: Why, retry_after: Option<u64>) -> Setback {
        Setback::Refused(Refusal { retry_after, ..Refusal::new(Event::RefusedBusy, why, "") })
    }

    fn exhausted() -> Patience {
        let mut patience = Patience::new(Duration::from_secs(10));
        patience.last_progress = Instant::now().checked_sub(Duration::from_secs(11)).unwrap();
        patience
    }

    #[test]
    fn busy_is_progress_and_unreachable_is_not() {
        let donor = donor();
        for (setback, goes_on) in [
            (refusal(Why::Busy, Some(2)), true),
            (Setback::Broken { why: String::new(), bytes: 1 }, true),
            (Setback::Unreachable(String::new()), false),
            (refusal(Why::NotReady, Some(2)), false),
        ] {
            let mut patience = exhausted();
            patience.notice(&setback, Duration::ZERO);
            assert_eq!(patience.pause(&[(&donor, setback)]).is_ok(), goes_on);
        }
    }

    #[test]
    fn busy_is_progress_for_a_while_only() {
        let donor = donor();
        for (minutes, goes_on) in [(0, true), (59, true), (61, false)] {
            let mut patience = exhausted();
            patience.give_up_after = Duration::from_secs(600);
            patience.last_progress = Instant::now().checked_sub(Duration::from_secs(601)).unwrap();
            patience.busy_since = Instant::now().checked_sub(Duration::from_secs(60 * minutes));
            let busy = refusal(Why::Busy, Some(2));
            patience.notice(&busy, Duration::ZERO);
            assert_eq!(patience.pause(&[(&donor, busy)]).is_ok(), goes_on, "{minutes}");
        }
    }

    #[test]
    fn a_stream_that_breaks_as_early_as_before_is_no_progress() {
        let mut patience = exhausted();
        patience.furthest = 100;
        patience.notice(&Setback::Broken { why: String::new(), bytes: 109 }, Duration::ZERO);
        assert!(patience.pause(&[]).is_err());
    }

    #[test]
    fn a_long_stream_pauses_the_clock_for_a_few_breaks_only() {
        let mut patience = exhausted();
        patience.furthest = 100;
        let broken = Setback::Broken { why: String::new(), bytes: 50 };
        patience.notice(&broken, Duration::from_secs(8));
        assert!(patience.pause(&[]).is_ok());
        for _ in 1..BROKEN_STREAMS {
            patience.notice(&broken, Duration::ZERO);
        }
        assert!(patience.pause(&[]).unwrap_err().contains("5 streams"));
    }

    #[test]
    fn pauses_grow_and_a_donors_retry_after_is_kept() {
        let donor = donor();
        let mut patience = Patience::new(Duration::from_secs(600));
        let unreachable = [(&donor, Setback::Unreachable(String::new()))];
        let first = patience.pause(&unreachable).unwrap();
        assert!(patience.pause(&unreachable).unwrap() > first);
        let pause = patience.pause(&[(&donor, refusal(Why::Busy, Some(2)))]).unwrap();
        assert_eq!(pause, Duration::from_secs(2));
    }
}

//! Round after round over the donors, until one gives a whole backup or nothing has moved for too long.
//!
//! Progress is a donor that says "busy" (it is there, and our turn will come), or a stream that came further than any
//! before it. A donor that can't be reached is none, nor is one that is not ready.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use tracing::{info, warn};

use super::{Received, Recipient, Setback};
use crate::exit::Reason;
use crate::settings::HostPort;
use crate::wire::message::Why;

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Receives from the first donor that gives; `stage` makes an empty directory for each try.
pub fn receive_from_any(
    recipient: &Recipient<'_>,
    donors: &[HostPort],
    give_up_after: Duration,
    stage: &dyn Fn() -> Result<PathBuf>,
) -> Result<Received> {
    let mut patience = Patience::new(give_up_after);
    loop {
        let mut setbacks = Vec::new();
        for donor in donors {
            match recipient.receive(donor, stage) {
                Ok(received) => return Ok(received),
                Err(Setback::Fatal(error)) => return Err(error),
                Err(setback) => {
                    patience.notice(&setback);
                    info!(%donor, "no clone from this donor: {setback}");
                    setbacks.push((donor, setback));
                }
            }
        }
        if setbacks.iter().all(|(_, setback)| is_final(setback)) {
            return Err(Reason::Refused.error(format!("no donor gives a clone: {}", in_words(&setbacks))));
        }
        let pause = patience.pause(&setbacks).ok_or_else(|| {
            Reason::NoDonor.error(format!(
                "no donor gave a whole clone, and nothing has moved for {} seconds: {}",
                give_up_after.as_secs(),
                in_words(&setbacks)
            ))
        })?;
        if pause > Duration::from_secs(1) {
            warn!(seconds = pause.as_secs_f64(), "trying again");
        }
        std::thread::sleep(pause);
    }
}

/// Whether waiting can't change a donor's answer.
fn is_final(setback: &Setback) -> bool {
    match setback {
        Setback::Refused(refusal) => !refusal.why.may_pass(),
        Setback::Unacceptable(_) | Setback::Fatal(_) => true,
        Setback::Unreachable(_) | Setback::Broken { .. } => false,
    }
}

fn in_words(setbacks: &[(&HostPort, Setback)]) -> String {
    let words: Vec<String> = setbacks.iter().map(|(donor, setback)| format!("{donor}: {setback}")).collect();
    words.join("; ")
}

/// How long to wait, and whether to go on at all.
struct Patience {
    give_up_after: Duration,
    last_progress: Instant,
    furthest: u64,
    next_pause: Duration,
}

impl Patience {
    fn new(give_up_after: Duration) -> Patience {
        Patience { give_up_after, last_progress: Instant::now(), furthest: 0, next_pause: FIRST_PAUSE }
    }

    fn notice(&mut self, setback: &Setback) {
        let progress = match setback {
            Setback::Refused(refusal) => refusal.why == Why::Busy,
            Setback::Broken { bytes, .. } if *bytes > self.furthest => {
                self.furthest = *bytes;
                true
            }
            _ => false,
        };
        if progress {
            self.last_progress = Instant::now();
            self.next_pause = FIRST_PAUSE;
        }
    }

    /// The pause before the next round; `None` when it would end after the last of the patience.
    fn pause(&mut self, setbacks: &[(&HostPort, Setback)]) -> Option<Duration> {
        let asked_for = setbacks.iter().filter_map(|(_, setback)| match setback {
            Setback::Refused(refusal) => refusal.retry_after.map(Duration::from_secs),
            _ => None,
        });
        let pause = asked_for.min().unwrap_or(self.next_pause).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        self.next_pause = (self.next_pause * 2).min(LONGEST_PAUSE);
        let left = self.give_up_after.saturating_sub(self.last_progress.elapsed());
        (!left.is_zero()).then(|| pause.min(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::message::Refusal;

    fn donor() -> HostPort {
        HostPort { host: "mysql-0.mysql".into(), port: 3307 }
    }

    fn refusal(why: Why, retry_after: Option<u64>) -> Setback {
        Setback::Refused(Refusal { why, text: String::new(), retry_after })
    }

    fn exhausted() -> Patience {
        let mut patience = Patience::new(Duration::from_secs(10));
        patience.last_progress = Instant::now().checked_sub(Duration::from_secs(11)).unwrap();
        patience
    }

    #[test]
    fn busy_is_progress_and_unreachable_is_none() {
        let donor = donor();
        for (setback, goes_on) in [
            (refusal(Why::Busy, Some(2)), true),
            (Setback::Broken { why: String::new(), bytes: 1 }, true),
            (Setback::Unreachable(String::new()), false),
            (refusal(Why::NotReady, Some(2)), false),
        ] {
            let mut patience = exhausted();
            patience.notice(&setback);
            assert_eq!(patience.pause(&[(&donor, setback)]).is_some(), goes_on);
        }
    }

    #[test]
    fn a_stream_that_breaks_no_later_than_before_is_no_progress() {
        let mut patience = exhausted();
        patience.furthest = 100;
        patience.notice(&Setback::Broken { why: String::new(), bytes: 100 });
        assert!(patience.pause(&[]).is_none());
    }

    #[test]
    fn pauses_grow_and_a_donors_wish_is_kept() {
        let donor = donor();
        let mut patience = Patience::new(Duration::from_secs(600));
        let unreachable = [(&donor, Setback::Unreachable(String::new()))];
        let first = patience.pause(&unreachable).unwrap();
        assert!(patience.pause(&unreachable).unwrap() > first);
        let pause = patience.pause(&[(&donor, refusal(Why::Busy, Some(2)))]).unwrap();
        assert_eq!(pause, Duration::from_secs(2));
    }
}

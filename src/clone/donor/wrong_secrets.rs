//! Delays the answer to a wrong clone secret, longer with each attempt of an address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Delay after the first wrong proof of an address; each further one doubles it.
const FIRST: Duration = Duration::from_millis(100);

/// Shorter than a recipient waits for an answer, so that an honest pod with a wrong secret still hears the reason.
const LONGEST: Duration = Duration::from_secs(2);

/// After this time with no wrong proof an address starts at the first delay again.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// Number of addresses that are remembered. An attacker with more addresses can guess from each.
const MOST: usize = 1024;

/// Recent wrong proofs, by address.
#[derive(Default)]
pub struct Guesses(Mutex<HashMap<IpAddr, (u32, Instant)>>);

impl Guesses {
    /// Counts a wrong proof and returns how long its sender waits for the answer.
    pub fn pause_after_another(&self, peer: IpAddr) -> Duration {
        self.pause_at(peer, Instant::now())
    }

    fn pause_at(&self, peer: IpAddr, now: Instant) -> Duration {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, (_, last)| now.saturating_duration_since(*last) < FORGOTTEN);
        if all.len() >= MOST
            && !all.contains_key(&peer)
            && let Some(oldest) = all.iter().min_by_key(|(_, (_, last))| *last).map(|(peer, _)| *peer)
        {
            all.remove(&oldest);
        }
        let (count, last) = all.entry(peer).or_insert((0, now));
        *last = now;
        let pause = FIRST.saturating_mul(1 << (*count).min(10));
        *count = count.saturating_add(1);
        pause.min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wrong_proof_delays_only_its_own_address() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        let [one, other]: [IpAddr; 2] = [[10, 0, 0, 1].into(), [10, 0, 0, 2].into()];
        let pauses: Vec<u128> = (0..8).map(|_| guesses.pause_at(one, now).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 2000, 2000, 2000]);
        assert_eq!(guesses.pause_at(other, now), FIRST);
        assert_eq!(guesses.pause_at(one, now + FORGOTTEN), FIRST);
    }

    #[test]
    fn memory_is_bounded() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        for number in 0..3 * MOST as u32 {
            guesses.pause_at(IpAddr::V4(number.into()), now);
        }
        assert_eq!(guesses.0.lock().unwrap().len(), MOST);
    }
}

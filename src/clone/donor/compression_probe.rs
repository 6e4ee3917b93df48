//! Whether frames are packed: never, always, or by what turns out to be quicker on this link with these data.
//!
//! What counts is the time that a byte of the stream takes to be packed and sent, waiting for the recipient and for the
//! pace included, and waiting for the backup tool not: where that is the slowest of all, nothing is gained by packing.

use std::time::Duration;

use crate::model::event::info;
use crate::settings::WireCompression;

/// Bytes of the stream by which a way of sending is judged.
const PROBE: u64 = 16 << 20;

/// Bytes after a change that say nothing yet: what was sent before lies in buffers on the way.
const SETTLE: u64 = 4 << 20;

/// Bytes between two looks at the other way; twice as many after each look that changed nothing.
const STAY: u64 = 256 << 20;
const LONGEST_STAY: u64 = 16 << 30;

/// No processor packs a byte in less, in seconds: a link that takes one in this time needs no look.
const QUICK_ENOUGH: f64 = 1.5e-9;

/// Which way frames are sent, and how that is decided.
pub struct Choice {
    is_open: bool,
    packs: bool,
    /// Where the other way is being tried: seconds for a byte of this one.
    before: Option<f64>,
    /// Bytes sent since the last change, and what was measured since the last judgement.
    bytes: u64,
    measured: u64,
    seconds: f64,
    /// How much more is sent this way before the other is tried, and how much the next time.
    until_look: u64,
    stay: u64,
}

impl Choice {
    /// `allowed` where the recipient can unpack.
    pub fn new(setting: WireCompression, allowed: bool) -> Choice {
        Choice {
            is_open: allowed && setting == WireCompression::Auto,
            packs: allowed && setting == WireCompression::On,
            before: None,
            bytes: 0,
            measured: 0,
            seconds: 0.0,
            until_look: 0,
            stay: STAY,
        }
    }

    /// Whether frames are to be packed now.
    pub fn packs(&self) -> bool {
        self.packs
    }

    /// Takes note of what sending some bytes of the stream took.
    pub fn note(&mut self, bytes: u64, took: Duration) {
        if !self.is_open {
            return;
        }
        self.bytes += bytes;
        if self.bytes > SETTLE {
            self.measured += bytes;
            self.seconds += took.as_secs_f64();
        }
        if self.measured >= PROBE {
            self.judge();
        }
    }

    fn judge(&mut self) {
        let cost = self.seconds / self.measured as f64;
        self.until_look = self.until_look.saturating_sub(self.measured);
        (self.measured, self.seconds) = (0, 0.0);
        match self.before.take() {
            Some(before) if cost < before => {
                self.stay = STAY;
                self.until_look = STAY;
                let rate = |cost: f64| (1e-6 / cost).round();
                info!(
                    DonorPacking,
                    mb_per_second_before = rate(before),
                    mb_per_second = rate(cost),
                    "packing on the wire is {}",
                    if self.packs { "on" } else { "off" }
                );
            }
            Some(_) => {
                self.stay = (self.stay * 2).min(LONGEST_STAY);
                self.until_look = self.stay;
                self.change();
            }
            None if self.until_look == 0 && (self.packs || cost > QUICK_ENOUGH) => {
                self.before = Some(cost);
                self.change();
            }
            None => {}
        }
    }

    fn change(&mut self) {
        self.packs = !self.packs;
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends `bytes` over a link on which a byte takes so many seconds, and says how many of them went packed.
    fn send(choice: &mut Choice, bytes: u64, plain: f64, packed: f64) -> u64 {
        let mut sent_packed = 0;
        for _ in 0..bytes >> 20 {
            let cost = if choice.packs() { packed } else { plain };
            sent_packed += if choice.packs() { 1 << 20 } else { 0 };
            choice.note(1 << 20, Duration::from_secs_f64(cost * (1 << 20) as f64));
        }
        sent_packed
    }

    #[test]
    fn a_slow_link_comes_to_pack_and_a_quick_one_does_not() {
        let mut choice = Choice::new(WireCompression::Auto, true);
        let packed = send(&mut choice, 1 << 30, 1e-7, 3e-8);
        assert!(choice.packs() && packed > 900 << 20, "{packed}");
        let mut choice = Choice::new(WireCompression::Auto, true);
        let packed = send(&mut choice, 1 << 30, 3e-9, 1e-8);
        assert!(!choice.packs() && packed < 100 << 20, "{packed}");
        let mut choice = Choice::new(WireCompression::Auto, true);
        assert_eq!(send(&mut choice, 1 << 30, 1e-9, 1e-9), 0);
    }

    #[test]
    fn a_link_that_changes_is_noticed() {
        let mut choice = Choice::new(WireCompression::Auto, true);
        send(&mut choice, 1 << 30, 1e-7, 3e-8);
        send(&mut choice, 2 << 30, 3e-9, 1e-8);
        assert!(!choice.packs());
    }

    #[test]
    fn who_did_not_ask_gets_nothing_packed() {
        for setting in [WireCompression::On, WireCompression::Auto, WireCompression::Off] {
            assert_eq!(send(&mut Choice::new(setting, false), 1 << 30, 1e-7, 3e-8), 0);
        }
        assert_eq!(send(&mut Choice::new(WireCompression::Off, true), 1 << 30, 1e-7, 3e-8), 0);
        assert_eq!(send(&mut Choice::new(WireCompression::On, true), 1 << 30, 1e-9, 1e-8), 1 << 30);
    }
}

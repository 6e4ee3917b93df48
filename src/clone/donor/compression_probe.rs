//! Decides whether frames are compressed: always, never, or by measuring which is quicker for these data on this link.
//!
//! The measure is the time to compress and send a byte of the stream. It includes waiting for the recipient and for the
//! rate limit. It excludes waiting for the backup tool: if the tool is the slowest part, compression gains nothing.

use std::time::Duration;

use crate::model::event::info;
use crate::settings::WireCompression;

/// Bytes of the stream that one measurement covers.
const PROBE: u64 = 16 << 20;

/// Bytes after a change that are left out: earlier bytes still lie in buffers on the way.
const SETTLE: u64 = 4 << 20;

/// Bytes until the other mode is tried; doubled after each trial in vain.
const STAY: u64 = 256 << 20;
const LONGEST_STAY: u64 = 16 << 30;

/// Seconds a byte. Compression is slower than this on any processor, so a link this quick needs no trial.
const QUICK_ENOUGH: f64 = 1.5e-9;

/// The current mode and the measurements that decide on it.
pub struct CompressionProbe {
    is_open: bool,
    packs: bool,
    /// During a trial: seconds a byte of the mode in use before.
    before: Option<f64>,
    /// Bytes sent since the last change, and the measurements since the last decision.
    bytes: u64,
    measured: u64,
    seconds: f64,
    /// Bytes left until the other mode is tried, and the distance to the next trial.
    until_look: u64,
    stay: u64,
}

impl CompressionProbe {
    /// `allowed` says whether the recipient can decompress.
    pub fn new(setting: WireCompression, allowed: bool) -> CompressionProbe {
        CompressionProbe {
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

    /// Whether the next frames are compressed.
    pub fn packs(&self) -> bool {
        self.packs
    }

    /// Records how long sending some bytes of the stream took.
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
            self.decide();
        }
    }

    fn decide(&mut self) {
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
                    "wire compression is {}",
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

    /// Sends `bytes` over a link with these seconds a byte. Returns how many went compressed.
    fn send(probe: &mut CompressionProbe, bytes: u64, plain: f64, packed: f64) -> u64 {
        let mut sent_packed = 0;
        for _ in 0..bytes >> 20 {
            let cost = if probe.packs() { packed } else { plain };
            sent_packed += if probe.packs() { 1 << 20 } else { 0 };
            probe.note(1 << 20, Duration::from_secs_f64(cost * (1 << 20) as f64));
        }
        sent_packed
    }

    #[test]
    fn a_slow_link_ends_up_compressed_and_a_quick_one_uncompressed() {
        let mut probe = CompressionProbe::new(WireCompression::Auto, true);
        let packed = send(&mut probe, 1 << 30, 1e-7, 3e-8);
        assert!(probe.packs() && packed > 900 << 20, "{packed}");
        let mut probe = CompressionProbe::new(WireCompression::Auto, true);
        let packed = send(&mut probe, 1 << 30, 3e-9, 1e-8);
        assert!(!probe.packs() && packed < 100 << 20, "{packed}");
        let mut probe = CompressionProbe::new(WireCompression::Auto, true);
        assert_eq!(send(&mut probe, 1 << 30, 1e-9, 1e-9), 0);
    }

    #[test]
    fn a_link_that_changes_is_noticed() {
        let mut probe = CompressionProbe::new(WireCompression::Auto, true);
        send(&mut probe, 1 << 30, 1e-7, 3e-8);
        send(&mut probe, 2 << 30, 3e-9, 1e-8);
        assert!(!probe.packs());
    }

    #[test]
    fn only_a_recipient_that_asked_gets_compressed_frames() {
        for setting in [WireCompression::On, WireCompression::Auto, WireCompression::Off] {
            assert_eq!(send(&mut CompressionProbe::new(setting, false), 1 << 30, 1e-7, 3e-8), 0);
        }
        assert_eq!(send(&mut CompressionProbe::new(WireCompression::Off, true), 1 << 30, 1e-7, 3e-8), 0);
        assert_eq!(send(&mut CompressionProbe::new(WireCompression::On, true), 1 << 30, 1e-9, 1e-8), 1 << 30);
    }
}

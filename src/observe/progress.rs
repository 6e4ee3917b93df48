//! Reports the progress of a clone's phase: a log line every ten seconds, or a redrawn line on a terminal.

use std::io;
use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::model::event::info;
use crate::sys::terminal;
use crate::unpack::Source;

/// The pause between two log lines.
const CALM: Duration = Duration::from_secs(10);

/// The pause between two updates on a terminal.
const LIVELY: Duration = Duration::from_millis(500);

/// The weight of the latest interval in a rate.
const FRESHNESS: f64 = 0.3;

/// A running phase. Dropping it ends its reports.
pub struct Progress {
    done: Arc<Done>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// A phase that reports only its time.
    pub fn of(phase: &'static str) -> Progress {
        Progress::of_bytes(phase, None)
    }

    /// A phase that moves bytes, with the expected number if it is known.
    pub fn of_bytes(phase: &'static str, expected: Option<u64>) -> Progress {
        let done = Arc::<Done>::default();
        let (stop, stopped) = channel();
        let mut meter = Meter::new(phase, expected);
        let period = if terminal::is_drawn_on() { LIVELY } else { CALM };
        let counted = done.clone();
        // If the thread cannot be started, the phase continues in silence.
        let thread = std::thread::Builder::new().name("progress".into()).spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(period) {
                meter.tell(counted.bytes(), counted.first.get().copied(), Instant::now());
            }
            terminal::clear();
        });
        Progress { done, stop: Some(stop), thread: thread.ok() }
    }

    /// Sets the total of moved bytes, for a phase whose bytes are moved elsewhere.
    pub fn set(&self, bytes: u64) {
        self.done.set(bytes);
    }

    /// Bytes so far.
    pub fn done(&self) -> u64 {
        self.done.bytes()
    }

    /// Counts the bytes read from a source.
    pub fn watch<S: Source>(&self, source: S) -> Watched<S> {
        Watched { source, done: self.done.clone() }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Bytes so far, and the time of the first.
#[derive(Default)]
struct Done {
    bytes: AtomicU64,
    first: OnceLock<Instant>,
}

impl Done {
    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn add(&self, count: usize) {
        self.set(self.bytes() + count as u64);
    }

    /// Called by a single thread.
    fn set(&self, bytes: u64) {
        if bytes > 0 {
            self.first.get_or_init(Instant::now);
        }
        self.bytes.store(bytes, Ordering::Relaxed);
    }
}

/// A source whose bytes are counted.
pub struct Watched<S> {
    source: S,
    done: Arc<Done>,
}

impl<S: Source> Read for Watched<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.done.add(count);
        Ok(count)
    }
}

impl<S: Source> Source for Watched<S> {
    fn read_checksummed(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read_checksummed(buffer)?;
        self.done.add(count);
        Ok(count)
    }
}

/// The speed of a phase.
struct Meter {
    phase: &'static str,
    expected: Option<u64>,
    began: Instant,
    last: Instant,
    done: u64,
    /// Bytes a second.
    rate: Option<f64>,
}

impl Meter {
    fn new(phase: &'static str, expected: Option<u64>) -> Meter {
        let now = Instant::now();
        Meter { phase, expected, began: now, last: now, done: 0, rate: None }
    }

    fn tell(&mut self, done: u64, first: Option<Instant>, now: Instant) {
        if let (None, Some(first)) = (self.rate, first) {
            // The rate starts at the first byte.
            self.last = first;
        }
        let line = self.line(done, now);
        if terminal::is_drawn_on() {
            terminal::draw(&line);
            return;
        }
        let (phase, seconds) = (self.phase, (now - self.began).as_secs());
        match self.percent() {
            Some(percent) => info!(Progress, phase, bytes = done, percent, seconds, "{line}"),
            None if done > 0 => info!(Progress, phase, bytes = done, seconds, "{line}"),
            None => info!(Progress, phase, seconds, "{line}"),
        }
    }

    /// Records the progress and describes it in a line.
    fn line(&mut self, done: u64, now: Instant) -> String {
        if done == 0 {
            return format!("{}, for {}", self.phase, in_words(now - self.began));
        }
        let seconds = (now - self.last).as_secs_f64().max(0.001);
        // A private server reports its own progress, and its number may decrease.
        let latest = done.saturating_sub(self.done) as f64 / seconds;
        let rate = self.rate.map_or(latest, |rate| rate + FRESHNESS * (latest - rate));
        (self.done, self.last, self.rate) = (done, now, Some(rate));
        let amount = match self.expected {
            Some(expected) => format!("{} of about {}", size(done), size(expected)),
            None => size(done),
        };
        let mut line = format!("{} {amount}", self.phase);
        if let Some(percent) = self.percent() {
            line += &format!(", {percent} %");
        }
        line += &format!(", {}/s", size(rate as u64));
        if let Some(left) = self.left(rate) {
            line += &format!(", {} left", in_words(left));
        }
        line
    }

    /// Below 100, because the expected number may be too small: the data grow meanwhile, and the log is added.
    fn percent(&self) -> Option<u64> {
        let expected = self.expected.filter(|expected| *expected > 0 && self.done > 0)?;
        Some((self.done.saturating_mul(100) / expected).min(99))
    }

    fn left(&self, rate: f64) -> Option<Duration> {
        let left = self.expected?.checked_sub(self.done).filter(|left| *left > 0)?;
        Duration::try_from_secs_f64(left as f64 / rate).ok().filter(|_| rate >= 1.0)
    }
}

/// `1.24 GB`, in powers of ten as for disks.
fn size(bytes: u64) -> String {
    let bytes = bytes as f64;
    match bytes {
        ..1e6 => format!("{:.0} kB", bytes / 1e3),
        ..1e9 => format!("{:.0} MB", bytes / 1e6),
        _ => format!("{:.2} GB", bytes / 1e9),
    }
}

fn in_words(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..60 => format!("{seconds} s"),
        seconds @ ..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_amount_the_rate_and_the_time_left() {
        let mut meter = Meter::new("receiving", Some(4_000_000_000));
        let began = meter.began;
        let at = |seconds| began + Duration::from_secs(seconds);
        meter.tell(0, None, at(4));
        assert_eq!(meter.line(0, at(5)), "receiving, for 5 s");
        // From the first byte on its time counts.
        meter.tell(0, Some(at(5)), at(5));
        for (bytes, seconds, says) in [
            (1_000_000_000, 15, "1.00 GB of about 4.00 GB, 25 %, 100 MB/s, 30 s left"),
            (2_000_000_000, 25, "2.00 GB of about 4.00 GB, 50 %, 100 MB/s, 20 s left"),
            // Twice as fast for a while.
            (3_000_000_000, 30, "3.00 GB of about 4.00 GB, 75 %, 130 MB/s, 7 s left"),
            (3_500_000_000, 35, "3.50 GB of about 4.00 GB, 87 %, 121 MB/s, 4 s left"),
            (4_200_000_000, 45, "4.20 GB of about 4.00 GB, 99 %, 106 MB/s"),
        ] {
            assert_eq!(meter.line(bytes, at(seconds)), format!("receiving {says}"));
        }
    }

    #[test]
    fn a_decrease_counts_as_zero() {
        let mut meter = Meter::new("copying", Some(4_000_000_000));
        let began = meter.began;
        meter.line(2_000_000_000, began + Duration::from_secs(20));
        let line = meter.line(1_000_000_000, began + Duration::from_secs(30));
        assert_eq!(line, "copying 1.00 GB of about 4.00 GB, 25 %, 70 MB/s, 42 s left");
    }

    #[test]
    fn unknown_parts_are_left_out() {
        let mut meter = Meter::new("receiving", None);
        let began = meter.began;
        let line = meter.line(512_000_000, began + Duration::from_secs(1));
        assert_eq!(line, "receiving 512 MB, 512 MB/s");
        let mut meter = Meter::new("preparing", None);
        assert_eq!(meter.line(0, began + Duration::from_secs(4000)), "preparing, for 1 h 06 min");
    }

    #[test]
    fn counts_the_bytes_of_a_source() {
        struct Plain(&'static [u8]);
        impl Read for Plain {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0.read(buffer)
            }
        }
        impl Source for Plain {
            fn read_checksummed(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0.read(buffer)
            }
        }
        let progress = Progress::of("receiving");
        let mut watched = progress.watch(Plain(b"some bytes"));
        watched.read_exact(&mut [0; 4]).unwrap();
        assert_eq!(watched.read_checksummed(&mut [0; 99]).unwrap(), 6);
        assert_eq!(progress.done(), 10);
    }
}

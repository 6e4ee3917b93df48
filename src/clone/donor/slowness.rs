//! A recipient that takes little while others wait loses its turn.
//!
//! The kernel knows whose fault it is: for how long a connection had something to send (`tcpi_busy_time`, Linux 4.9), and how
//! much of it the peer has acknowledged. A tool that brings little leaves the connection idle. A kernel that does not tell
//! has nobody's turn taken away.

use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use tracing::{Span, debug};

use super::context::Donor;
use super::waiting::{WINDOW, Waiting};
use crate::model::event::warn;

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(2);

/// What of the time there must have been something to send, in a hundred.
const BUSY: u128 = 90;

/// Watches a connection until it is dropped.
pub struct SlownessWatch {
    _end: Sender<()>,
}

/// What a connection has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sent {
    /// That the peer has acknowledged.
    bytes: u64,
    /// How long there was something to send.
    busy: Duration,
}

impl SlownessWatch {
    /// Breaks the connection off once its peer has taken fewer than the least bytes a second for a while, and somebody waits.
    /// Without a thread nobody does that.
    pub fn begin(stream: &TcpStream, pod: &str, donor: &Donor) -> Option<SlownessWatch> {
        SlownessWatch::started(stream, pod.to_owned(), donor.settings.least_rate, donor.waiting.clone())
            .inspect_err(|error| debug!(%error, "nobody sees whether the recipient is slow"))
            .ok()
    }

    fn started(stream: &TcpStream, pod: String, least: u64, waiting: Arc<Waiting>) -> io::Result<SlownessWatch> {
        let stream = stream.try_clone()?;
        let (end, ended) = channel();
        let span = Span::current();
        std::thread::Builder::new().name("slowness".into()).spawn(move || {
            let _span = span.enter();
            let mut samples = VecDeque::new();
            while ended.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                let Some(sent) = sent(&stream) else { return debug!("the kernel does not tell what was sent") };
                samples.push_back((Instant::now(), sent));
                let Some(rate) = rate_of_too_slow(&mut samples, least).filter(|_| waiting.is_somebody()) else {
                    continue;
                };
                warn!(
                    DonorTooSlow,
                    recipient = pod,
                    bytes_per_second = rate,
                    least,
                    "the recipient takes too little while others wait (--least-rate): its clone is broken off"
                );
                waiting.lost(&pod);
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
        })?;
        Ok(SlownessWatch { _end: end })
    }
}

/// What the peer took in a second of the last window, where that is the peer's doing and too little. Samples before the window
/// are forgotten.
fn rate_of_too_slow(samples: &mut VecDeque<(Instant, Sent)>, least: u64) -> Option<u64> {
    let (now, last) = *samples.back()?;
    while samples.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
        samples.pop_front();
    }
    let (begun, first) = *samples.front()?;
    let time = now.duration_since(begun);
    if time < WINDOW {
        return None;
    }
    let is_busy = (last.busy.saturating_sub(first.busy)).as_millis() * 100 >= time.as_millis() * BUSY;
    let rate = last.bytes.saturating_sub(first.bytes) * 1000 / (time.as_millis() as u64).max(1);
    (is_busy && rate < least).then_some(rate)
}

/// By the kernel's `struct tcp_info` (linux/tcp.h), of which libc has the beginning alone.
#[allow(unsafe_code, reason = "an option that no library wraps")]
fn sent(stream: &TcpStream) -> Option<Sent> {
    const ACKNOWLEDGED: usize = 120;
    const BUSY_TIME: usize = 168;
    let mut info = [0u8; 192];
    let mut length = info.len() as libc::socklen_t;
    // SAFETY: the kernel writes no more than `length` bytes, which is what there is.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result != 0 || (length as usize) < BUSY_TIME + 8 {
        return None;
    }
    let number = |at: usize| info[at..at + 8].try_into().map(u64::from_ne_bytes).ok();
    Some(Sent { bytes: number(ACKNOWLEDGED)?, busy: Duration::from_micros(number(BUSY_TIME)?) })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    fn too_slow(seconds: u64, bytes: u64, busy: u64) -> Option<u64> {
        let begun = Instant::now();
        let mut samples: VecDeque<_> = (0..=seconds)
            .map(|second| {
                let sent = Sent { bytes: bytes * second, busy: Duration::from_millis(10 * busy * second) };
                (begun + Duration::from_secs(second), sent)
            })
            .collect();
        rate_of_too_slow(&mut samples, 1_000_000)
    }

    #[test]
    fn who_takes_little_is_too_slow_unless_little_is_there() {
        assert_eq!(too_slow(60, 100_000, 100), Some(100_000));
        assert_eq!(too_slow(60, 2_000_000, 100), None);
        assert_eq!(too_slow(60, 100_000, 50), None, "the tool brings little");
        assert_eq!(too_slow(20, 100_000, 100), None, "not long enough");
    }

    #[test]
    fn two_that_are_slow_do_not_take_the_turn_from_each_other() {
        let waiting = Waiting::default();
        assert!(!waiting.is_somebody());
        waiting.note("mysql-1");
        assert!(waiting.is_somebody());
        waiting.lost("mysql-1");
        assert!(!waiting.is_somebody());
        waiting.note("mysql-2");
        assert!(waiting.is_somebody());
    }

    #[test]
    fn the_kernel_tells_what_was_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&[7; 10_000]).unwrap();
        peer.read_exact(&mut [0; 10_000]).unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        while sent(&stream).unwrap().bytes < 10_000 {
            assert!(Instant::now() < deadline, "{:?}", sent(&stream));
            std::thread::sleep(Duration::from_millis(1));
        }
        let before = sent(&stream).unwrap();
        assert!(before.bytes < 20_000 && before.busy < Duration::from_secs(5), "{before:?}");
        // As much as fits, and nobody takes it.
        stream.set_nonblocking(true).unwrap();
        while stream.write(&[7; 10_000]).is_ok() {}
        std::thread::sleep(Duration::from_millis(300));
        let busy = sent(&stream).unwrap().busy - before.busy;
        assert!(busy >= Duration::from_millis(250), "{busy:?}");
    }
}

//! Takes the slot from a recipient that is slow while others wait.
//!
//! The kernel tells whether the recipient is the cause. It reports how long a connection had bytes to send
//! (`tcpi_busy_time`, Linux 4.9), and how many of them the peer acknowledged. A slow tool leaves the connection idle.
//! On a kernel that lacks these numbers every recipient keeps its slot.

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

/// Time between two samples.
const PERIOD: Duration = Duration::from_secs(2);

/// Percentage of the time for which there must have been bytes to send.
const BUSY: u128 = 90;

/// Watches a connection until dropped.
pub struct SlownessWatch {
    _end: Sender<()>,
}

/// The kernel's counters of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sent {
    /// Bytes that the peer has acknowledged.
    bytes: u64,
    /// How long there were bytes to send.
    busy: Duration,
}

impl SlownessWatch {
    /// Breaks the connection once its peer has stayed below the least rate for a window while another pod waits. `None`
    /// if the thread cannot start.
    pub fn begin(stream: &TcpStream, pod: &str, donor: &Donor) -> Option<SlownessWatch> {
        SlownessWatch::started(stream, pod.to_owned(), donor.settings.least_rate, donor.waiting.clone())
            .inspect_err(|error| debug!(%error, "cannot watch whether the recipient is slow"))
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
                let Some(sent) = sent(&stream) else { return debug!("this kernel does not report what was sent") };
                samples.push_back((Instant::now(), sent));
                let Some(rate) = rate_of_too_slow(&mut samples, least).filter(|_| waiting.is_somebody()) else {
                    continue;
                };
                warn!(
                    DonorTooSlow,
                    recipient = pod,
                    bytes_per_second = rate,
                    least,
                    "the recipient is slower than --least-rate while others wait; ending its clone"
                );
                waiting.lost(&pod);
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
        })?;
        Ok(SlownessWatch { _end: end })
    }
}

/// The peer's rate over the last window, if the peer is the cause and the rate is below `least`. Drops samples older
/// than the window.
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

/// Reads the kernel's `struct tcp_info` (linux/tcp.h); libc has only its beginning.
#[allow(unsafe_code, reason = "an option that no library wraps")]
fn sent(stream: &TcpStream) -> Option<Sent> {
    const ACKNOWLEDGED: usize = 120;
    const BUSY_TIME: usize = 168;
    let mut info = [0u8; 192];
    let mut length = info.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, the size of the array.
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
    fn a_low_rate_is_too_slow_unless_the_tool_is_the_cause() {
        assert_eq!(too_slow(60, 100_000, 100), Some(100_000));
        assert_eq!(too_slow(60, 2_000_000, 100), None);
        assert_eq!(too_slow(60, 100_000, 50), None, "the tool brings little");
        assert_eq!(too_slow(20, 100_000, 100), None, "not long enough");
    }

    #[test]
    fn two_slow_recipients_keep_their_slots_from_each_other() {
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
    fn the_kernel_reports_what_was_sent() {
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
        // Fills the buffers while the peer reads nothing.
        stream.set_nonblocking(true).unwrap();
        while stream.write(&[7; 10_000]).is_ok() {}
        std::thread::sleep(Duration::from_millis(300));
        let busy = sent(&stream).unwrap().busy - before.busy;
        assert!(busy >= Duration::from_millis(250), "{busy:?}");
    }
}

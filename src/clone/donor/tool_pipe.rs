//! Reads the backup tool's pipe for the relay. Every wait ends: meanwhile the recipient gets heartbeats and its
//! departure is noticed.
//!
//! Data with a checksum of its own goes from the pipe into the connection uncopied (splice(2)). Each frame covers only
//! bytes that the pipe already holds, so that an announced frame never waits for the tool.

use std::io::{self, Read};
use std::net::TcpStream;
use std::ops::Range;
use std::process::ChildStdout;
use std::time::{Duration, Instant};

use super::compression_probe::CompressionProbe;
use super::rate_limit::RateLimit;
use super::relay_error::RelayError;
use super::splice;
use crate::protocol::data::DataWriter;

/// Bytes read at once when a chunk head is expected: often a small file follows it.
const READ_AHEAD: usize = 8 << 10;

/// Fewer bytes than this are copied: that costs less than a frame of their own.
const LEAST_TO_SPLICE: usize = 32 << 10;

/// With fewer bytes in the pipe and more to come, the relay gives it time to fill.
const WORTH_MOVING: usize = 512 << 10;

/// The longest such wait: a slow disk delivers about as much in that time.
const WAIT_FOR_MORE: Duration = Duration::from_millis(1);

/// Time between two looks at a filling pipe. It holds a mebibyte, which a fast tool writes in a quarter of a
/// millisecond. When each look came only after the whole wait, this was the slowest part of a clone.
const GLANCE: Duration = Duration::from_micros(200);

/// Bytes copied at once.
const COPY_SIZE: usize = 64 << 10;

/// How frames are sent.
pub struct Sending {
    pub rate_limit: RateLimit,
    pub probe: CompressionProbe,
    /// The longest silence towards the recipient.
    pub heartbeat: Duration,
    /// How long the recipient may accept nothing.
    pub stall: Duration,
}

/// The tool's output on its way to the recipient.
pub struct ToolPipe<'a, 'w> {
    output: ChildStdout,
    recipient: &'a TcpStream,
    writer: &'w mut DataWriter<&'a TcpStream>,
    rate_limit: RateLimit,
    probe: CompressionProbe,
    heartbeat: Duration,
    stall: Duration,
    last_word: Instant,
    /// Time spent waiting for the rate limit since the last send.
    held: Duration,
    buffer: Box<[u8]>,
    /// Bytes of the buffer that were read and still have to be sent.
    ahead: Range<usize>,
    has_ended: bool,
}

impl<'a, 'w> ToolPipe<'a, 'w> {
    pub fn new(output: ChildStdout, writer: &'w mut DataWriter<&'a TcpStream>, sending: Sending) -> ToolPipe<'a, 'w> {
        let Sending { rate_limit, probe, heartbeat, stall } = sending;
        writer.set_limit(rate_limit.frame_limit());
        ToolPipe {
            output,
            recipient: writer.output(),
            writer,
            rate_limit,
            probe,
            heartbeat,
            stall,
            last_word: Instant::now(),
            held: Duration::ZERO,
            buffer: vec![0; COPY_SIZE].into(),
            ahead: 0..0,
            has_ended: false,
        }
    }

    /// Whether the tool has closed its output.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Relays everything, for data that has no checksum of its own.
    pub fn pass_all(&mut self) -> Result<(), RelayError> {
        while !self.has_ended {
            self.wait()?;
            let mark = self.mark();
            match self.writer.relay_once(&mut self.output)? {
                Ok(count) => self.has_ended = count == 0,
                Err(error) => return Err(error.into()),
            }
            self.account(mark)?;
        }
        Ok(())
    }

    /// Relays `length` bytes that have a checksum of their own.
    pub fn pass(&mut self, length: u64) -> Result<(), RelayError> {
        let mut left = length;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX);
            let passed = match self.there(left)?.min(most).min(self.writer.room()) {
                count @ LEAST_TO_SPLICE.. if !self.writer.is_packing() => self.splice(count)?,
                _ => self.copy(most.min(COPY_SIZE), true)?,
            };
            if passed == 0 {
                return Err(RelayError::Tool(io::ErrorKind::UnexpectedEof.into()));
            }
            left -= passed as u64;
        }
        Ok(())
    }

    /// How many bytes can be moved out of the pipe right now. Zero while read-ahead bytes remain.
    fn there(&mut self, wanted: u64) -> Result<usize, RelayError> {
        if !self.ahead.is_empty() {
            return Ok(0);
        }
        self.wait()?;
        let worth = usize::try_from(wanted).unwrap_or(usize::MAX).min(WORTH_MOVING);
        let mut there = splice::there(&self.output)?;
        // A short wait makes one large frame out of many small ones, each of which would wake both ends.
        let began = Instant::now();
        while there < worth && began.elapsed() < WAIT_FOR_MORE {
            std::thread::sleep(GLANCE);
            there = splice::there(&self.output)?;
        }
        Ok(there)
    }

    /// Moves bytes that the pipe already holds.
    fn splice(&mut self, count: usize) -> Result<usize, RelayError> {
        let mark = self.mark();
        let connection = match self.writer.announce(count) {
            Ok(connection) => *connection,
            Err(error) => return Err(error.into()),
        };
        splice::splice(&self.output, connection, count, self.stall)?;
        self.account(mark)?;
        Ok(count)
    }

    /// Copies at most `most` bytes, from the read-ahead or from the pipe. Returns zero at the end.
    fn copy(&mut self, most: usize, checksummed: bool) -> Result<usize, RelayError> {
        self.read_ahead(most)?;
        let count = self.ahead.len().min(most);
        let mark = self.mark();
        let piece = &self.buffer[self.ahead.start..][..count];
        self.ahead.start += count;
        if let Err(error) = self.writer.gather(piece, checksummed) {
            return Err(error.into());
        }
        self.account(mark)?;
        Ok(count)
    }

    fn read_ahead(&mut self, most: usize) -> Result<(), RelayError> {
        if !self.ahead.is_empty() {
            return Ok(());
        }
        self.wait()?;
        let count = loop {
            match self.output.read(&mut self.buffer[..most]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        self.has_ended = count == 0;
        self.ahead = 0..count;
        Ok(())
    }

    /// Returns when more may be sent and the tool has written or closed its output. Before waiting it sends the
    /// gathered bytes, and while waiting the heartbeats that are due.
    fn wait(&mut self) -> Result<(), RelayError> {
        self.hold()?;
        let mut patience = Duration::ZERO;
        while !self.look(patience, true)? {
            let mark = self.mark();
            if self.writer.gathered() > 0
                && let Err(error) = self.writer.flush()
            {
                return Err(error.into());
            }
            self.account(mark)?;
            patience = self.beat()?;
        }
        Ok(())
    }

    /// Waits until the rate limit allows more.
    fn hold(&mut self) -> Result<(), RelayError> {
        loop {
            let wait = self.rate_limit.wait();
            if wait.is_zero() {
                return Ok(());
            }
            let patience = self.beat()?.min(wait);
            let began = Instant::now();
            self.look(patience, false)?;
            self.held += began.elapsed();
        }
    }

    /// Sends a heartbeat if one is due, and returns the time until the next.
    fn beat(&mut self) -> Result<Duration, RelayError> {
        if self.last_word.elapsed() >= self.heartbeat {
            let mark = self.mark();
            if let Err(error) = self.writer.heartbeat() {
                return Err(error.into());
            }
            self.account(mark)?;
            self.last_word = Instant::now();
        }
        Ok(self.heartbeat.saturating_sub(self.last_word.elapsed()))
    }

    /// The counters so far, for [`ToolPipe::account`].
    fn mark(&self) -> Mark {
        Mark {
            at: Instant::now(),
            sent: self.writer.sent(),
            bytes: self.writer.bytes() - self.writer.gathered() as u64,
        }
    }

    /// Records what was sent since `mark`.
    fn account(&mut self, mark: Mark) -> Result<(), RelayError> {
        let now = self.mark();
        if now.sent == mark.sent {
            return Ok(());
        }
        self.last_word = now.at;
        self.rate_limit.spent(now.sent - mark.sent, mark.at);
        self.probe.note(now.bytes - mark.bytes, now.at - mark.at + std::mem::take(&mut self.held));
        if self.probe.packs() != self.writer.is_packing()
            && let Err(error) = self.writer.set_packing(self.probe.packs())
        {
            return Err(error.into());
        }
        Ok(())
    }

    /// Whether the tool has written or closed its output, if `at_output` is set. Fails if the recipient is gone.
    fn look(&mut self, limit: Duration, at_output: bool) -> Result<bool, RelayError> {
        let output = at_output.then_some(&self.output);
        splice::is_ready(output, self.recipient, limit)
    }
}

/// A moment and the counters at that time: bytes on the wire, and bytes of the stream.
struct Mark {
    at: Instant,
    sent: u64,
    bytes: u64,
}

/// Reads the chunk heads: they are relayed and covered by the digest.
impl Read for ToolPipe<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_ahead(READ_AHEAD)?;
        if self.ahead.is_empty() {
            return Ok(0);
        }
        let start = self.ahead.start;
        let count = self.copy(buffer.len(), false)?;
        buffer[..count].copy_from_slice(&self.buffer[start..][..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;
    use std::os::fd::OwnedFd;
    use std::thread::JoinHandle;

    use super::*;
    use crate::protocol::digest::Coverage;
    use crate::settings::WireCompression;
    use crate::unpack::UnpackError;
    use crate::unpack::xbstream::Flavour;
    use crate::unpack::xbstream::chunk::Chunks;

    /// A connection whose recipient reads everything.
    fn connection() -> (TcpStream, JoinHandle<u64>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut recipient = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let reading = std::thread::spawn(move || io::copy(&mut recipient, &mut io::sink()).unwrap());
        (listener.accept().unwrap().0, reading)
    }

    /// A tool that has already written all of this and ended: at most as much as a pipe holds.
    fn written(stream: &[u8]) -> ChildStdout {
        let (output, mut input) = io::pipe().unwrap();
        let output = ChildStdout::from(OwnedFd::from(output));
        splice::enlarge(&output);
        assert!(rustix::pipe::fcntl_getpipe_size(&output).unwrap() >= stream.len(), "a pipe that holds so much");
        input.write_all(stream).unwrap();
        output
    }

    fn sending(bytes_a_second: Option<u64>) -> Sending {
        let minute = Duration::from_secs(60);
        let probe = CompressionProbe::new(WireCompression::Off, false);
        Sending { rate_limit: RateLimit::new(bytes_a_second), probe, heartbeat: minute, stall: minute }
    }

    #[test]
    fn a_stream_that_ends_inside_a_long_map_is_cut() {
        let entries: u32 = 20_000;
        let head = [b"XBSTCK01\0S".as_slice(), &1u32.to_le_bytes(), b"a", &entries.to_le_bytes(), &[0; 20]].concat();
        let (connection, _reading) = connection();
        let mut writer = DataWriter::covering(Coverage::Heads, &connection);
        let output = written(&[head, vec![0; 9000]].concat());
        let mut pipe = ToolPipe::new(output, &mut writer, sending(None));
        let cut = Chunks::new(&mut pipe, Flavour::Percona).next_chunk();
        assert!(matches!(cut, Err(UnpackError::Malformed(_))), "{cut:?}");
        assert!(pipe.has_ended());
    }

    /// Copied data would have gone through the buffer.
    #[test]
    fn data_with_a_checksum_is_moved_unseen() {
        const LENGTH: usize = 600 << 10;
        let (connection, _reading) = connection();
        let mut writer = DataWriter::covering(Coverage::Heads, &connection);
        let mut pipe = ToolPipe::new(written(&[7; LENGTH]), &mut writer, sending(None));
        pipe.pass(LENGTH as u64).unwrap();
        assert!(pipe.buffer.iter().all(|byte| *byte == 0));
        assert_eq!(writer.bytes(), LENGTH as u64);
    }

    #[test]
    fn the_rate_limit_holds_for_every_way_of_sending() {
        const LENGTH: usize = 256 << 10;
        type Pass = fn(&mut ToolPipe<'_, '_>) -> Result<(), RelayError>;
        let ways: [(Coverage, Pass); 3] = [
            (Coverage::Whole, |pipe| pipe.pass_all()),
            (Coverage::Heads, |pipe| pipe.pass(LENGTH as u64)),
            (Coverage::Heads, |pipe| io::copy(pipe, &mut io::sink()).map(drop).map_err(RelayError::of)),
        ];
        std::thread::scope(|scope| {
            for (number, (coverage, pass)) in ways.into_iter().enumerate() {
                scope.spawn(move || {
                    let (connection, _reading) = connection();
                    let mut writer = DataWriter::covering(coverage, &connection);
                    let began = Instant::now();
                    let mut pipe = ToolPipe::new(written(&[7; LENGTH]), &mut writer, sending(Some(LENGTH as u64)));
                    pass(&mut pipe).unwrap();
                    // The rate limit delays all but the last eighth of a second.
                    let took = began.elapsed();
                    assert!(took > Duration::from_millis(800), "way {number} took {took:?}");
                });
            }
        });
    }
}

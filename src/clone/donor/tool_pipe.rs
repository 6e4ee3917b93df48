//! The backup tool's pipe as the relay has it: every wait in it ends, for the recipient hears a heartbeat meanwhile and
//! is noticed when it goes.
//!
//! Data that have a checksum of their own go from the pipe into the connection without being copied (splice(2)): as
//! many as are there, so that a frame that was announced never waits for the tool.

use std::io::{self, Read};
use std::net::TcpStream;
use std::ops::Range;
use std::process::ChildStdout;
use std::time::{Duration, Instant};

use super::compression_probe::Choice;
use super::rate_limit::Pace;
use super::splice;
use crate::protocol::data::DataWriter;
use crate::protocol::frame::WireError;

/// What is read at once where a chunk's head is expected: often a small file lies behind it.
const READ_AHEAD: usize = 8 << 10;

/// Less than this is copied: it costs less than a frame of its own.
const LEAST_TO_SPLICE: usize = 32 << 10;

/// As long as there is less in the pipe, and more to come, it is given time to fill.
const WORTH_MOVING: usize = 512 << 10;

/// At most that long: a slow disk brings about as much meanwhile.
const GATHERING: Duration = Duration::from_millis(1);

/// After which it is looked at again. The pipe holds a mebibyte, which a fast tool writes in a quarter of a millisecond;
/// where it had to wait for the rest of the whole time it was the slowest part of a clone.
const GLANCE: Duration = Duration::from_micros(200);

/// What is copied at once.
const COPY_SIZE: usize = 64 << 10;

/// How frames are sent.
pub struct Sending {
    pub pace: Pace,
    pub choice: Choice,
    /// The longest that the recipient hears nothing.
    pub heartbeat: Duration,
    /// The longest that it may take nothing.
    pub stall: Duration,
}

pub struct Passing<'a, 'w> {
    output: ChildStdout,
    recipient: &'a TcpStream,
    writer: &'w mut DataWriter<&'a TcpStream>,
    pace: Pace,
    choice: Choice,
    heartbeat: Duration,
    stall: Duration,
    last_word: Instant,
    /// How long the pace was waited for since something was sent.
    held: Duration,
    buffer: Box<[u8]>,
    /// What of the buffer was read and not passed on.
    ahead: Range<usize>,
    /// Why there is nobody to receive any more.
    gone: Option<WireError>,
    has_ended: bool,
}

impl<'a, 'w> Passing<'a, 'w> {
    pub fn new(output: ChildStdout, writer: &'w mut DataWriter<&'a TcpStream>, sending: Sending) -> Passing<'a, 'w> {
        let Sending { pace, choice, heartbeat, stall } = sending;
        writer.set_limit(pace.frame_limit());
        Passing {
            output,
            recipient: writer.output(),
            writer,
            pace,
            choice,
            heartbeat,
            stall,
            last_word: Instant::now(),
            held: Duration::ZERO,
            buffer: vec![0; COPY_SIZE].into(),
            ahead: 0..0,
            gone: None,
            has_ended: false,
        }
    }

    /// Whether the tool has closed its output.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Why there is nobody to receive any more, where that is what an error was about.
    pub fn take_gone(&mut self) -> Option<WireError> {
        self.gone.take()
    }

    /// Passes all that comes on, none of which has a checksum.
    pub fn pass_all(&mut self) -> io::Result<()> {
        while !self.has_ended {
            self.wait()?;
            let mark = self.mark();
            match self.writer.relay_once(&mut self.output)? {
                Ok(count) => self.has_ended = count == 0,
                Err(error) => return Err(self.lost(error)),
            }
            self.account(mark)?;
        }
        Ok(())
    }

    /// Passes so many bytes on that have a checksum of their own.
    pub fn pass(&mut self, length: u64) -> io::Result<()> {
        let mut left = length;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX);
            let passed = match self.there(left)?.min(most).min(self.writer.room()) {
                count @ LEAST_TO_SPLICE.. if !self.writer.is_packing() => self.splice(count)?,
                _ => self.copy(most.min(COPY_SIZE), true)?,
            };
            if passed == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left -= passed as u64;
        }
        Ok(())
    }

    /// How many bytes can be moved out of the pipe right now: none as long as some were read ahead.
    fn there(&mut self, wanted: u64) -> io::Result<usize> {
        if !self.ahead.is_empty() {
            return Ok(0);
        }
        self.wait()?;
        let worth = usize::try_from(wanted).unwrap_or(usize::MAX).min(WORTH_MOVING);
        let mut there = splice::there(&self.output)?;
        // A moment's wait makes one large frame of what would be many small ones, each of which wakes both ends.
        let began = Instant::now();
        while there < worth && began.elapsed() < GATHERING {
            std::thread::sleep(GLANCE);
            there = splice::there(&self.output)?;
        }
        Ok(there)
    }

    /// Moves bytes that are there.
    fn splice(&mut self, count: usize) -> io::Result<usize> {
        let mark = self.mark();
        let connection = match self.writer.announce(count) {
            Ok(connection) => *connection,
            Err(error) => return Err(self.lost(error)),
        };
        splice::splice(&self.output, connection, count, self.stall)?.map_err(|error| self.lost(error))?;
        self.account(mark)?;
        Ok(count)
    }

    /// Copies at most so many bytes, of those read ahead or of what comes; none at the end.
    fn copy(&mut self, most: usize, checksummed: bool) -> io::Result<usize> {
        self.read_ahead(most)?;
        let count = self.ahead.len().min(most);
        let mark = self.mark();
        let piece = &self.buffer[self.ahead.start..][..count];
        self.ahead.start += count;
        if let Err(error) = self.writer.gather(piece, checksummed) {
            return Err(self.lost(error));
        }
        self.account(mark)?;
        Ok(count)
    }

    fn read_ahead(&mut self, most: usize) -> io::Result<()> {
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

    /// Returns when more may be sent, and the tool has written something or closed its output. What was gathered is sent
    /// before that is waited for, and a heartbeat where nothing was sent for long.
    fn wait(&mut self) -> io::Result<()> {
        self.hold()?;
        let mut patience = Duration::ZERO;
        while !self.look(patience, true)? {
            let mark = self.mark();
            if self.writer.gathered() > 0
                && let Err(error) = self.writer.flush()
            {
                return Err(self.lost(error));
            }
            self.account(mark)?;
            patience = self.beat()?;
        }
        Ok(())
    }

    /// Waits until the pace allows more.
    fn hold(&mut self) -> io::Result<()> {
        loop {
            let wait = self.pace.wait();
            if wait.is_zero() {
                return Ok(());
            }
            let patience = self.beat()?.min(wait);
            let began = Instant::now();
            self.look(patience, false)?;
            self.held += began.elapsed();
        }
    }

    /// Sends a heartbeat where one is due, and says how long until the next.
    fn beat(&mut self) -> io::Result<Duration> {
        if self.last_word.elapsed() >= self.heartbeat {
            let mark = self.mark();
            if let Err(error) = self.writer.heartbeat() {
                return Err(self.lost(error));
            }
            self.account(mark)?;
            self.last_word = Instant::now();
        }
        Ok(self.heartbeat.saturating_sub(self.last_word.elapsed()))
    }

    /// What was sent so far, for [`Passing::account`].
    fn mark(&self) -> Mark {
        Mark {
            at: Instant::now(),
            sent: self.writer.sent(),
            bytes: self.writer.bytes() - self.writer.gathered() as u64,
        }
    }

    /// Takes note of what was sent since.
    fn account(&mut self, mark: Mark) -> io::Result<()> {
        let now = self.mark();
        if now.sent == mark.sent {
            return Ok(());
        }
        self.last_word = now.at;
        self.pace.spent(now.sent - mark.sent, mark.at);
        self.choice.note(now.bytes - mark.bytes, now.at - mark.at + std::mem::take(&mut self.held));
        if self.choice.packs() != self.writer.is_packing()
            && let Err(error) = self.writer.set_packing(self.choice.packs())
        {
            return Err(self.lost(error));
        }
        Ok(())
    }

    /// Whether the tool has written something or closed its output, where that is asked for; the recipient must be there.
    fn look(&mut self, limit: Duration, at_output: bool) -> io::Result<bool> {
        let output = at_output.then_some(&self.output);
        splice::is_ready(output, self.recipient, limit)?.map_err(|error| self.lost(error))
    }

    /// Remembers what an error is about that goes through somebody else's hands.
    fn lost(&mut self, error: WireError) -> io::Error {
        self.gone = Some(error);
        io::ErrorKind::ConnectionAborted.into()
    }
}

/// A moment, and what was sent until then: bytes on the wire, and bytes of the stream.
struct Mark {
    at: Instant,
    sent: u64,
    bytes: u64,
}

/// What stands before the data: read, passed on, and covered by the digest.
impl Read for Passing<'_, '_> {
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

    /// A connection whose recipient reads all that comes.
    fn connection() -> (TcpStream, JoinHandle<u64>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut recipient = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let reading = std::thread::spawn(move || io::copy(&mut recipient, &mut io::sink()).unwrap());
        (listener.accept().unwrap().0, reading)
    }

    /// A tool that has written all this already, and ended: no more than a pipe holds.
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
        let choice = Choice::new(WireCompression::Off, false);
        Sending { pace: Pace::new(bytes_a_second), choice, heartbeat: minute, stall: minute }
    }

    #[test]
    fn a_stream_that_ends_inside_a_map_longer_than_the_buffer_is_cut() {
        let entries: u32 = 20_000;
        let head = [b"XBSTCK01\0S".as_slice(), &1u32.to_le_bytes(), b"a", &entries.to_le_bytes(), &[0; 20]].concat();
        let (connection, _reading) = connection();
        let mut writer = DataWriter::covering(Coverage::Heads, &connection);
        let output = written(&[head, vec![0; 9000]].concat());
        let mut passing = Passing::new(output, &mut writer, sending(None));
        let cut = Chunks::new(&mut passing, Flavour::Percona).next_chunk();
        assert!(matches!(cut, Err(UnpackError::Malformed(_))), "{cut:?}");
        assert!(passing.has_ended());
    }

    /// What was copied went through the buffer.
    #[test]
    fn data_with_a_checksum_go_by_unseen() {
        const LENGTH: usize = 600 << 10;
        let (connection, _reading) = connection();
        let mut writer = DataWriter::covering(Coverage::Heads, &connection);
        let mut passing = Passing::new(written(&[7; LENGTH]), &mut writer, sending(None));
        passing.pass(LENGTH as u64).unwrap();
        assert!(passing.buffer.iter().all(|byte| *byte == 0));
        assert_eq!(writer.bytes(), LENGTH as u64);
    }

    #[test]
    fn the_pace_is_kept_whichever_way_the_bytes_go() {
        const LENGTH: usize = 256 << 10;
        type Pass = fn(&mut Passing<'_, '_>) -> io::Result<()>;
        let ways: [(Coverage, Pass); 3] = [
            (Coverage::Whole, |passing| passing.pass_all()),
            (Coverage::Heads, |passing| passing.pass(LENGTH as u64)),
            (Coverage::Heads, |passing| io::copy(passing, &mut io::sink()).map(drop)),
        ];
        std::thread::scope(|scope| {
            for (number, (coverage, pass)) in ways.into_iter().enumerate() {
                scope.spawn(move || {
                    let (connection, _reading) = connection();
                    let mut writer = DataWriter::covering(coverage, &connection);
                    let began = Instant::now();
                    let mut passing = Passing::new(written(&[7; LENGTH]), &mut writer, sending(Some(LENGTH as u64)));
                    pass(&mut passing).unwrap();
                    // All but the last eighth of a second is waited for.
                    let took = began.elapsed();
                    assert!(took > Duration::from_millis(800), "way {number} took {took:?}");
                });
            }
        });
    }
}

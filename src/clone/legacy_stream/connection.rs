//! Connects to a legacy donor: the tutorial's `ncat --send-only`, which runs the backup tool for each connection and
//! never reads.
//!
//! The handshake detects it: the first bytes of an xbstream come instead of a preface. The recipient then drops that
//! connection. Its greeting lies unread in it, so the end would be a reset, which may discard the last bytes of the
//! stream. It makes a second connection and stays silent on it.
//!
//! Dropping the first connection breaks off the backup tool there. In the tutorial `ncat` is the first process of its
//! container, and it may end too: it counts the orphans that it reaps as connections (seen with 7.93, after complete
//! clones too). Then the container restarts, so a recipient tries the handshake only once.

use std::io::{self, BufReader, ErrorKind, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::clone::connection::connecting::{CONNECT_LIMIT, connect};
use crate::clone::connection::{Place, Silence};
use crate::model::host::HostPort;
use crate::protocol::frame::WireError;
use crate::unpack::Source;

/// With `--max-conns=1` the donor hangs up at once until it has noticed the end of the first connection.
const ANEW_LIMIT: Duration = Duration::from_secs(10);

/// Pause between two attempts, each of which may start a backup tool there.
const PAUSE: Duration = Duration::from_millis(500);

/// Bytes read at once when a chunk head is expected.
const READ_AHEAD: usize = 8 << 10;

/// Connects silently and returns the stream. `None` if the donor hangs up before the first byte.
pub fn take_legacy_stream(donor: &HostPort, stall: Duration) -> Result<Option<LegacyStream>, Silence> {
    let deadline = Instant::now() + ANEW_LIMIT;
    let unreachable = |error: io::Error| Silence::Unreachable(WireError::Io(error).to_string());
    loop {
        let stream = connect(&Place::Name(donor.clone()), CONNECT_LIMIT)?;
        stream.set_read_timeout(Some(stall)).map_err(unreachable)?;
        match stream.peek(&mut [0]) {
            Ok(1..) => {
                return Ok(Some(LegacyStream { input: BufReader::with_capacity(READ_AHEAD, stream), bytes: 0 }));
            }
            Err(error) if error.kind() != ErrorKind::ConnectionReset => return Err(unreachable(error)),
            Ok(0) | Err(_) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            Ok(0) | Err(_) => return Ok(None),
        }
    }
}

/// A legacy stream: the backup tool's output as it is. Its end leaves completeness open.
pub struct LegacyStream {
    input: BufReader<TcpStream>,
    bytes: u64,
}

impl LegacyStream {
    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// A legacy stream lacks a digest.
impl Source for LegacyStream {
    fn read_checksummed(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read(buffer)
    }
}

impl Read for LegacyStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match self.input.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
            result => result.map_err(|error| io::Error::other(WireError::Io(error)))?,
        };
        self.bytes += count as u64;
        Ok(count)
    }
}

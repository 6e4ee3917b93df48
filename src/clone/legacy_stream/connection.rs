//! A donor that knows nothing of the protocol: the tutorial's `ncat --send-only`, which runs the backup tool for whoever
//! connects, and never reads.
//!
//! It is found out by the handshake: where our preface is answered by what an xbstream begins with. That connection is of
//! no use any more: its end, with what we said in it unread, would be a reset, which may take the last bytes of the stream
//! along. So another is made, and nothing is said on it.
//!
//! The first has the backup tool there broken off; and an `ncat` that is the first process of its container, as in the
//! tutorial, may end with it: it counts the orphans that it reaps as connections (seen with 7.93, after whole clones too).
//! Then the container starts again, and whoever has asked once must not ask again.

use std::io::{self, BufReader, ErrorKind, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::clone::connection::connecting::{CONNECT_LIMIT, connect};
use crate::clone::connection::{Place, Silence};
use crate::model::host::HostPort;
use crate::protocol::frame::WireError;
use crate::unpack::Source;

/// With `--max-conns=1` the donor hangs up at once until it has noticed that the first connection is gone.
const ANEW_LIMIT: Duration = Duration::from_secs(10);

/// Between two tries, each of which may start a backup tool there.
const PAUSE: Duration = Duration::from_millis(500);

/// What is read at once where a chunk's head is expected.
const READ_AHEAD: usize = 8 << 10;

/// Connects without a word, and returns what comes; `None` where the donor hangs up without a byte.
pub fn take_bare_stream(donor: &HostPort, stall: Duration) -> Result<Option<BareStream>, Silence> {
    let deadline = Instant::now() + ANEW_LIMIT;
    let unreachable = |error: io::Error| Silence::Unreachable(WireError::Io(error).to_string());
    loop {
        let stream = connect(&Place::Name(donor.clone()), CONNECT_LIMIT)?;
        stream.set_read_timeout(Some(stall)).map_err(unreachable)?;
        match stream.peek(&mut [0]) {
            Ok(1..) => {
                return Ok(Some(BareStream { input: BufReader::with_capacity(READ_AHEAD, stream), bytes: 0 }));
            }
            Err(error) if error.kind() != ErrorKind::ConnectionReset => return Err(unreachable(error)),
            Ok(0) | Err(_) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            Ok(0) | Err(_) => return Ok(None),
        }
    }
}

/// A backup stream as it came from the tool. Its end says nothing about whether it is whole.
pub struct BareStream {
    input: BufReader<TcpStream>,
    bytes: u64,
}

impl BareStream {
    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Nothing digests it.
impl Source for BareStream {
    fn read_checksummed(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read(buffer)
    }
}

impl Read for BareStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match self.input.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
            result => result.map_err(|error| io::Error::other(WireError::Io(error)))?,
        };
        self.bytes += count as u64;
        Ok(count)
    }
}

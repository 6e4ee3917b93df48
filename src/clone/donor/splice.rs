//! Waits for the backup tool's pipe and the recipient's connection, and moves bytes between them by splice(2), which
//! saves copying.
//!
//! [`RelayError`] tells which of the two broke.

use std::io;
use std::net::TcpStream;
use std::process::ChildStdout;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionread};
use rustix::pipe::{SpliceFlags, fcntl_setpipe_size};

use super::relay_error::RelayError;
use crate::protocol::frame::WireError;

/// Bytes in the pipe between tool and relay: each further page saves a context switch. An ordinary user may have this
/// many (/proc/sys/fs/pipe-max-size).
const SIZE: usize = 1 << 20;

/// Enlarges the pipe, which saves context switches.
pub fn enlarge(output: &ChildStdout) {
    let _ = fcntl_setpipe_size(output, SIZE);
}

/// Whether the tool has written or closed its output, if `output` is given. The recipient is silent during a clone, so
/// any event on its connection is its end.
pub fn is_ready(output: Option<&ChildStdout>, recipient: &TcpStream, limit: Duration) -> Result<bool, RelayError> {
    let any = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
    let mut descriptors = vec![PollFd::new(recipient, PollFlags::IN | PollFlags::RDHUP)];
    descriptors.extend(output.map(|output| PollFd::new(output, PollFlags::IN)));
    let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: i64::from(limit.subsec_nanos()) };
    match poll(&mut descriptors, Some(&limit)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(RelayError::Tool(error.into())),
    }
    if descriptors[0].revents().intersects(any | PollFlags::RDHUP) {
        return Err(WireError::Ended("before the backup was done").into());
    }
    Ok(descriptors.get(1).is_some_and(|output| output.revents().intersects(any)))
}

/// How many bytes the pipe holds right now.
pub fn there(output: &ChildStdout) -> io::Result<usize> {
    Ok(usize::try_from(ioctl_fionread(output)?).unwrap_or(usize::MAX))
}

/// Moves `count` bytes that the pipe already holds. A recipient that stalls for `stall` is gone.
///
/// The socket is non-blocking meanwhile: a splice(2) that waits for the recipient keeps the pipe locked, and a killed
/// tool could then not end.
pub fn splice(output: &ChildStdout, connection: &TcpStream, count: usize, stall: Duration) -> Result<(), RelayError> {
    connection.set_nonblocking(true)?;
    let moved = splice_all(output, connection, count, stall);
    connection.set_nonblocking(false)?;
    moved
}

fn splice_all(output: &ChildStdout, connection: &TcpStream, count: usize, stall: Duration) -> Result<(), RelayError> {
    let mut left = count;
    while left > 0 {
        match rustix::pipe::splice(output, None, connection, None, left, SpliceFlags::empty()) {
            Ok(0) => return Err(RelayError::Tool(io::ErrorKind::UnexpectedEof.into())),
            Ok(moved) => left -= moved,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if has_room(connection, stall)? => {}
            Err(Errno::AGAIN) => return Err(WireError::Io(io::ErrorKind::TimedOut.into()).into()),
            Err(error) => return Err(WireError::Io(error.into()).into()),
        }
    }
    Ok(())
}

/// Whether the connection accepts more within the limit. A broken one counts too: the write that follows reports the
/// error.
fn has_room(connection: &TcpStream, limit: Duration) -> io::Result<bool> {
    let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: i64::from(limit.subsec_nanos()) };
    match poll(&mut [PollFd::new(connection, PollFlags::OUT)], Some(&limit)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

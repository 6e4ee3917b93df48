//! Between the backup tool's pipe and the recipient's connection: waiting for both, and moving bytes from the one to the
//! other without copying them (splice(2)).
//!
//! Errors of the pipe come back as they are, those of the connection as [`WireError`].

use std::io;
use std::net::TcpStream;
use std::process::ChildStdout;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionread};
use rustix::pipe::{SpliceFlags, fcntl_setpipe_size};

use crate::protocol::frame::WireError;

/// Bytes in the pipe between tool and relay: a page more of them is a context switch less. An ordinary user may have
/// this many (/proc/sys/fs/pipe-max-size).
const SIZE: usize = 1 << 20;

/// Makes the pipe as large as pays.
pub fn enlarge(output: &ChildStdout) {
    let _ = fcntl_setpipe_size(output, SIZE);
}

/// Whether the tool has written something or closed its output, where that is looked at. A recipient has nothing to say
/// during a clone: whatever comes from it is its end.
pub fn is_ready(
    output: Option<&ChildStdout>,
    recipient: &TcpStream,
    limit: Duration,
) -> io::Result<Result<bool, WireError>> {
    let any = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
    let mut descriptors = vec![PollFd::new(recipient, PollFlags::IN | PollFlags::RDHUP)];
    descriptors.extend(output.map(|output| PollFd::new(output, PollFlags::IN)));
    let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: i64::from(limit.subsec_nanos()) };
    match poll(&mut descriptors, Some(&limit)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    if descriptors[0].revents().intersects(any | PollFlags::RDHUP) {
        return Ok(Err(WireError::Ended("before the backup was done")));
    }
    Ok(Ok(descriptors.get(1).is_some_and(|output| output.revents().intersects(any))))
}

/// How many bytes can be taken out of the pipe right now.
pub fn there(output: &ChildStdout) -> io::Result<usize> {
    Ok(usize::try_from(ioctl_fionread(output)?).unwrap_or(usize::MAX))
}

/// Moves bytes that are there, all of them; a recipient that takes nothing for so long is gone.
///
/// The socket doesn't block meanwhile: a splice(2) that waits for the recipient holds the pipe locked, and a tool that
/// is killed then can't end.
pub fn splice(
    output: &ChildStdout,
    connection: &TcpStream,
    count: usize,
    stall: Duration,
) -> io::Result<Result<(), WireError>> {
    connection.set_nonblocking(true)?;
    let moved = splice_all(output, connection, count, stall);
    connection.set_nonblocking(false)?;
    moved
}

fn splice_all(
    output: &ChildStdout,
    connection: &TcpStream,
    count: usize,
    stall: Duration,
) -> io::Result<Result<(), WireError>> {
    let mut left = count;
    while left > 0 {
        match rustix::pipe::splice(output, None, connection, None, left, SpliceFlags::empty()) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(moved) => left -= moved,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if has_room(connection, stall)? => {}
            Err(Errno::AGAIN) => return Ok(Err(WireError::Io(io::ErrorKind::TimedOut.into()))),
            Err(error) => return Ok(Err(WireError::Io(error.into()))),
        }
    }
    Ok(Ok(()))
}

/// Whether the connection takes more within the limit, or is broken, which whoever writes finds out.
fn has_room(connection: &TcpStream, limit: Duration) -> io::Result<bool> {
    let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: i64::from(limit.subsec_nanos()) };
    match poll(&mut [PollFd::new(connection, PollFlags::OUT)], Some(&limit)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

//! From the backup tool's pipe into frames: large pieces, heartbeats while the tool is silent, and an eye on the
//! recipient.

use std::io;
use std::net::TcpStream;
use std::process::ChildStdout;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::wire::data::DataWriter;
use crate::wire::frame::WireError;

/// The longest that the recipient hears nothing.
pub const HEARTBEAT: Duration = Duration::from_secs(5);

/// Bytes in the pipe between tool and relay: a page more of them is a context switch less. An ordinary user may have
/// this many (/proc/sys/fs/pipe-max-size).
const PIPE_SIZE: usize = 1 << 20;

/// How passing on ended.
pub enum Relayed {
    /// The tool closed its output; whether it succeeded is another question.
    Whole,
    /// Nobody is there to receive.
    RecipientGone(WireError),
    /// The tool's output can't be read.
    OutputBroken(io::Error),
}

/// Passes all of `output` on. Every wait in it ends: reading by heartbeats, writing by the socket's timeout.
pub fn relay(
    mut output: ChildStdout,
    recipient: &TcpStream,
    writer: &mut DataWriter<&TcpStream>,
    stall: Duration,
) -> Relayed {
    let _ = rustix::pipe::fcntl_setpipe_size(&output, PIPE_SIZE);
    let heartbeat = HEARTBEAT.min(stall / 3).max(Duration::from_millis(100));
    let mut last_word = Instant::now();
    loop {
        let ready = match wait(&output, recipient, heartbeat.saturating_sub(last_word.elapsed())) {
            Ok(ready) => ready,
            Err(error) => return Relayed::OutputBroken(error),
        };
        if ready.recipient_spoke {
            let gone = WireError::Ended("before the backup was done");
            return Relayed::RecipientGone(gone);
        }
        let sent = if ready.output {
            match writer.relay_once(&mut output) {
                Ok(Ok(0)) => return Relayed::Whole,
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(error),
                Err(error) => return Relayed::OutputBroken(error),
            }
        } else {
            writer.heartbeat()
        };
        if let Err(error) = sent {
            return Relayed::RecipientGone(error);
        }
        last_word = Instant::now();
    }
}

struct Ready {
    output: bool,
    /// A recipient has nothing to say during a clone: whatever comes from it is its end.
    recipient_spoke: bool,
}

fn wait(output: &ChildStdout, recipient: &TcpStream, limit: Duration) -> io::Result<Ready> {
    let any = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
    let mut descriptors =
        [PollFd::new(output, PollFlags::IN), PollFd::new(recipient, PollFlags::IN | PollFlags::RDHUP)];
    let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: i64::from(limit.subsec_nanos()) };
    match poll(&mut descriptors, Some(&limit)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(Ready {
        output: descriptors[0].revents().intersects(any),
        recipient_spoke: descriptors[1].revents().intersects(any | PollFlags::RDHUP),
    })
}

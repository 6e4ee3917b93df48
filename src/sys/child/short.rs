//! Short commands: run to their end, with all that they write. None is waited for for ever, and none writes without end.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{disown, kill_group, spawn};
use crate::sys::environment;

/// How long a short command may take: a hundred times what the slowest server takes to tell its settings.
const SHORT: Duration = Duration::from_secs(60);

/// More than any of them writes: a server's help has 150 KB.
const LONGEST_OUTPUT: usize = 16 << 20;

/// Runs a short command to its end and returns all that it wrote. One that does not end is killed.
pub fn output(command: &mut Command) -> io::Result<Output> {
    output_within(command, SHORT)
}

pub(super) fn output_within(command: &mut Command, limit: Duration) -> io::Result<Output> {
    let deadline = Instant::now() + limit;
    output_of(spawn_piped(command)?, deadline).map_err(|error| in_time(error, limit))
}

fn in_time(error: io::Error, limit: Duration) -> io::Error {
    match error.kind() {
        io::ErrorKind::TimedOut => {
            io::Error::new(error.kind(), format!("it did not end within {} seconds, and was killed", limit.as_secs()))
        }
        _ => error,
    }
}

/// The same for several, side by side; what they wrote comes in their order. Where one fails the others are waited for all
/// the same.
pub fn outputs(commands: &mut [Command]) -> io::Result<Vec<Output>> {
    let deadline = Instant::now() + SHORT;
    let children: Vec<_> = commands.iter_mut().map(spawn_piped).collect();
    let output = |child| output_of(child, deadline).map_err(|error| in_time(error, SHORT));
    let outputs: Vec<_> = children.into_iter().map(|child| output(child?)).collect();
    outputs.into_iter().collect()
}

fn spawn_piped(command: &mut Command) -> io::Result<Child> {
    environment::withhold_secrets_from(command);
    spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0))
}

fn output_of(mut child: Child, deadline: Instant) -> io::Result<Output> {
    let written = read_both(&mut child, deadline);
    let ended = written.and_then(|written| Ok((written, status_by(&mut child, deadline)?)));
    // The child too, where it has not ended.
    kill_group(child.id());
    let reaped = child.wait();
    disown(child.id());
    let ((stdout, stderr), status) = ended?;
    reaped.map(|_| Output { status, stdout, stderr })
}

/// Both pipes to their ends, side by side.
fn read_both(child: &mut Child, deadline: Instant) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let (mut out, mut err) = (Vec::new(), Vec::new());
    while stdout.is_some() || stderr.is_some() {
        let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).map_err(io::Error::other)?;
        let pipes = [stdout.as_ref().map(AsFd::as_fd), stderr.as_ref().map(AsFd::as_fd)];
        let mut polled: Vec<_> = pipes.iter().flatten().map(|pipe| PollFd::new(pipe, PollFlags::IN)).collect();
        match poll(&mut polled, Some(&left)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut is_ready = polled.iter().map(|pipe| !pipe.revents().is_empty()).collect::<Vec<_>>().into_iter();
        let out_is_ready = stdout.is_some() && is_ready.next() == Some(true);
        let err_is_ready = stderr.is_some() && is_ready.next() == Some(true);
        read_some(&mut stdout, &mut out, out_is_ready)?;
        read_some(&mut stderr, &mut err, err_is_ready)?;
    }
    Ok((out, err))
}

fn read_some<P: Read>(pipe: &mut Option<P>, text: &mut Vec<u8>, is_ready: bool) -> io::Result<()> {
    let mut piece = [0; 16_384];
    let Some(open) = pipe.as_mut().filter(|_| is_ready) else { return Ok(()) };
    match open.read(&mut piece)? {
        0 => *pipe = None,
        _ if text.len() > LONGEST_OUTPUT => return Err(io::Error::other("it writes without end")),
        length => text.extend(&piece[..length]),
    }
    Ok(())
}

/// Waits for its end by a descriptor, where the kernel has them (5.3): one call instead of many short pauses.
fn status_by(child: &mut Child, deadline: Instant) -> io::Result<ExitStatus> {
    if let Ok(ended) = pidfd_open(Pid::from_child(child), PidfdFlags::empty()) {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).map_err(io::Error::other)?;
            match poll(&mut [PollFd::new(&ended, PollFlags::IN)], Some(&left)) {
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) => return child.wait(),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    loop {
        match child.try_wait()? {
            Some(status) => return Ok(status),
            None if Instant::now() >= deadline => return Err(io::ErrorKind::TimedOut.into()),
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

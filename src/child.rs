//! Child processes: each has an owner, is killed with all that it started, and is reaped, on every path.

mod memory;

use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::fs::{Access, access};
use rustix::process::{Pid, Signal, getpid, getppid, kill_process_group, set_parent_process_death_signal};
use tracing::{debug, info};

use crate::environment;
use crate::limits;
pub use memory::Ceiling;
use memory::Watch;

/// Children that somebody waits for. Whoever reaps strangers ([`crate::pid1`]) leaves these alone.
static OWNED: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Lines of a tool's standard error that are kept for an error message.
const TAIL_LINES: usize = 100;

/// Longest line that is logged, in bytes.
const LINE_LIMIT: u64 = 4096;

/// A child with a process group of its own. Dropped while it runs, it is killed and reaped.
pub struct Running {
    name: String,
    child: Child,
    narrator: Option<JoinHandle<Tail>>,
    watch: Option<Watch>,
    reaped: bool,
}

/// The last lines that a tool wrote to its standard error.
#[derive(Clone, Debug, Default)]
pub struct Tail(VecDeque<String>);

/// How a child ended, and what it said.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub tail: Tail,
    /// What it was killed for by us, where it was.
    outgrown: Option<Ceiling>,
}

impl Running {
    /// Starts `command` with its standard output in a pipe or not, its standard error logged line by line under
    /// `name`, nothing on its standard input, and without what of our environment
    /// is not for it.
    pub fn start(command: &mut Command, name: &str, stdout: Stdio) -> io::Result<Running> {
        environment::withhold_from(command);
        command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped()).process_group(0);
        let mut child = spawn(command)?;
        let narrator = child.stderr.take().map(|lines| {
            let name = name.to_owned();
            std::thread::spawn(move || narrate(&name, lines))
        });
        Ok(Running { name: name.to_owned(), child, narrator, watch: None, reaped: false })
    }

    /// Kills the child from now on where it uses more memory. Without a ceiling, or where the kernel can't have it
    /// watched, that is left to the kernel.
    pub fn below(mut self, ceiling: Option<Ceiling>) -> Running {
        self.watch = ceiling.and_then(|ceiling| {
            let watch = Watch::begin(self.child.id(), ceiling);
            watch.inspect_err(|error| debug!(tool = %self.name, "its memory is not watched: {error}")).ok()
        });
        self
    }

    /// The child's process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The pipe from the child's standard output; once.
    pub fn take_stdout(&mut self) -> io::Result<ChildStdout> {
        self.child.stdout.take().ok_or_else(|| io::Error::other(format!("{} has no pipe for its output", self.name)))
    }

    /// Whether the child has come to its end; how, [`Self::wait`] says.
    pub fn has_ended(&mut self) -> io::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits for the child's end.
    pub fn wait(mut self) -> io::Result<Ended> {
        let status = self.child.wait()?;
        Ok(self.ended(status))
    }

    /// Waits for the child's end as long as it is wanted; then kills it, which is seen in the status.
    pub fn wait_while(mut self, mut is_wanted: impl FnMut() -> bool) -> io::Result<Ended> {
        while is_wanted() {
            if let Some(status) = self.child.try_wait()? {
                return Ok(self.ended(status));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill();
        self.wait()
    }

    /// Kills the child and all that it started.
    pub fn kill(&self) {
        kill_group(self.child.id());
    }

    fn ended(&mut self, status: ExitStatus) -> Ended {
        self.reaped = true;
        disown(self.child.id());
        // What the child started, and left behind, would keep its standard error open.
        self.kill();
        let tail = self.narrator.take().and_then(|narrator| narrator.join().ok()).unwrap_or_default();
        let outgrown = self.watch.take().and_then(Watch::finish).filter(|_| is_kill(status));
        Ended { status, tail, outgrown }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        self.kill();
        let status = self.child.wait();
        disown(self.child.id());
        debug!(tool = %self.name, ?status, "killed and reaped");
    }
}

impl Ended {
    /// The end in words: `ended with 1`, `was killed by signal 15`.
    pub fn in_words(&self) -> String {
        match (self.outgrown, self.status.code(), self.status.signal()) {
            (Some(ceiling), ..) => ceiling.in_words(),
            (None, Some(code), _) => format!("ended with {code}"),
            (None, None, Some(signal)) => {
                let limit = limits::of_signal(signal).map(|limit| format!(" ({limit})")).unwrap_or_default();
                format!("was killed by signal {signal}{limit}")
            }
            (None, None, None) => "ended".to_owned(),
        }
    }

    /// Whether somebody else killed it, as the kernel does to whoever takes too much memory.
    pub fn was_killed(&self) -> bool {
        self.outgrown.is_none() && is_kill(self.status)
    }
}

fn is_kill(status: ExitStatus) -> bool {
    status.signal() == Some(Signal::KILL.as_raw())
}

impl Tail {
    /// Whether the last line holds a text.
    pub fn ends_with_line_holding(&self, text: &str) -> bool {
        self.0.back().is_some_and(|line| line.contains(text))
    }

    /// The last line that holds a text.
    pub fn line_holding(&self, text: &str) -> Option<&str> {
        self.0.iter().rev().map(String::as_str).find(|line| line.contains(text))
    }

    /// The lines, the oldest first.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The line that most likely tells why the tool failed: the last that speaks of an error, else the last. What is
    /// marked as less isn't it.
    pub fn complaint(&self) -> &str {
        let speaks_of_error = |line: &&String| {
            let line = line.to_ascii_lowercase();
            let is_less = ["[warning]", "[note]"].iter().any(|mark| line.contains(mark));
            !is_less
                && ["error", "fail", "denied", "cannot", "can't", "no space"].iter().any(|word| line.contains(word))
        };
        let complaint = self.0.iter().rev().find(speaks_of_error).or(self.0.back());
        complaint.map_or("it said nothing", String::as_str)
    }
}

/// Has a child killed when the thread that starts it ends, however that comes. A backup tool notices by its pipe that
/// nobody wants what it makes; a server goes on for ever, and keeps the data directory locked.
#[allow(unsafe_code, reason = "the child itself has to ask for it, between fork and exec")]
pub fn end_with_this_thread(command: &mut Command) {
    let parent = getpid();
    let ask = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // It may have ended in between.
        if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    };
    // SAFETY: it makes two system calls, takes no memory and no lock (fork(2), signal-safety(7)).
    unsafe { command.pre_exec(ask) };
}

/// `--option=` and a path, which need not be text.
pub fn path_option(option: &str, path: &Path) -> OsString {
    let mut argument = OsString::from(option);
    argument.push(path);
    argument
}

/// The program that a name stands for in directories that are separated as in `PATH`.
pub fn in_path(path: &OsStr, name: &str) -> Option<PathBuf> {
    let mut candidates = std::env::split_paths(path).map(|directory| directory.join(name));
    candidates.find(|candidate| access(candidate, Access::EXEC_OK).is_ok() && candidate.is_file())
}

/// Runs a short command to its end and returns all that it wrote.
pub fn output(command: &mut Command) -> io::Result<Output> {
    output_of(spawn_piped(command)?)
}

/// The same for several, side by side; what they wrote comes in their order. Where one fails the others are waited for all
/// the same.
pub fn outputs(commands: &mut [Command]) -> io::Result<Vec<Output>> {
    let children: Vec<_> = commands.iter_mut().map(spawn_piped).collect();
    let outputs: Vec<_> = children.into_iter().map(|child| output_of(child?)).collect();
    outputs.into_iter().collect()
}

fn spawn_piped(command: &mut Command) -> io::Result<Child> {
    spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))
}

fn output_of(child: Child) -> io::Result<Output> {
    let pid = child.id();
    let output = child.wait_with_output();
    disown(pid);
    output
}

/// Whether somebody waits for this child.
pub fn is_owned(pid: u32) -> bool {
    owned().contains(&pid)
}

/// Kills every child that somebody waits for, with all that it started: for a process that is about to end.
pub fn kill_all() {
    owned().iter().copied().for_each(kill_group);
}

fn kill_group(leader: u32) {
    if let Some(group) = i32::try_from(leader).ok().and_then(Pid::from_raw) {
        // The group is gone already where the child ended by itself.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// The lock is held until the child is known as ours: however soon it ends, nobody else reaps it.
fn spawn(command: &mut Command) -> io::Result<Child> {
    let mut owned = owned();
    let child = command.spawn().map_err(limits::explain)?;
    owned.insert(child.id());
    Ok(child)
}

fn owned() -> MutexGuard<'static, BTreeSet<u32>> {
    OWNED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn disown(pid: u32) {
    owned().remove(&pid);
}

/// Logs a tool's standard error line by line, and keeps its end.
fn narrate(name: &str, lines: ChildStderr) -> Tail {
    let mut lines = BufReader::new(lines);
    let mut tail = Tail::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        match lines.by_ref().take(LINE_LIMIT).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return tail,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if text.is_empty() {
            continue;
        }
        if is_about_one_file(&text) {
            debug!(tool = %name, "{text}");
        } else {
            info!(tool = %name, "{text}");
        }
        if tail.0.len() == TAIL_LINES {
            tail.0.pop_front();
        }
        tail.0.push_back(text);
    }
}

/// The backup tools write two lines for each file, of which a database may have tens of thousands.
fn is_about_one_file(line: &str) -> bool {
    line.contains("...done") || ["Streaming ", "Copying ", ">> log scanned"].iter().any(|start| line.contains(start))
}

#[cfg(test)]
mod tests;

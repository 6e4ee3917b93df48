//! Child processes: each has an owner, is killed with all that it started, and is reaped, on every path.

mod ended;
mod examiner;
mod lines;
mod memory;
mod program;
mod short;
mod standstill;
mod telling;

use std::collections::BTreeSet;
use std::io::{self, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpid, getppid, kill_process_group, set_parent_process_death_signal, waitid,
};
use tracing::debug;

use crate::sys::environment;
use crate::sys::limits;
pub use ended::Ended;
use ended::is_kill;
pub use examiner::{Examine, Importance, Marked, is_about_long_file, is_about_space, names_error};
use lines::Lines;
pub use memory::Ceiling;
use memory::Watch;
pub use program::{in_path, path_option};
pub use short::{output, outputs};
use standstill::Standstill;
use telling::Teller;

/// How long after a child's end its last lines are waited for.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Between two looks at whether a child moves.
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// Children that somebody waits for. Whoever reaps strangers ([`crate::sys::pid1`]) leaves these alone.
static OWNED: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Whether all of them were killed, for this process is about to end: no other is started.
static ARE_ENDED: AtomicBool = AtomicBool::new(false);

/// A child with a process group of its own. Dropped while it runs, it is killed and reaped.
pub struct Running<E = Marked> {
    name: String,
    child: Child,
    narrator: Option<JoinHandle<Narrated<E>>>,
    watch: Option<Watch>,
    /// How long it may do nothing while nobody waits for its end.
    patience: Option<Duration>,
    life: Arc<Life>,
    reaped: bool,
}

struct Narrated<E> {
    lines: E,
    was_stopped: bool,
}

/// A child that was not reaped yet: as long as that holds, its number is its own.
struct Life {
    pid: u32,
    goes_on: Mutex<bool>,
    /// Lines of its standard error so far.
    lines: AtomicU64,
    /// Whether it was killed because it did nothing.
    hung: AtomicBool,
}

impl Life {
    fn kill(&self) {
        // Held meanwhile: a child that is reaped between the two gives its number to another.
        let goes_on = self.lock();
        if *goes_on {
            kill_group(self.pid);
        }
    }

    /// Returns when the child was reaped, or was killed for doing nothing.
    fn kill_at_standstill(&self, mut standstill: Standstill, patience: Duration) {
        let period = LONGEST_LOOK.min(patience / 4);
        while *self.lock() {
            if !standstill.is_moving(self.lines.load(Ordering::Relaxed)) {
                self.hung.store(true, Ordering::SeqCst);
                return self.kill();
            }
            std::thread::sleep(period);
        }
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.goes_on.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// Starts `command` with its standard output in a pipe or not, nothing on its standard input, and without what
    /// of our environment is not for it. Its standard error is logged under `name`.
    pub fn start(command: &mut Command, name: &str, stdout: Stdio) -> io::Result<Running> {
        Running::examined(command, name, stdout, Marked::default())
    }
}

impl<E: Examine> Running<E> {
    /// The same, and every line of its standard error is examined as it passes.
    pub fn examined(command: &mut Command, name: &str, stdout: Stdio, examiner: E) -> io::Result<Running<E>> {
        environment::withhold_from(command);
        command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped()).process_group(0);
        let mut child = spawn(command)?;
        let life = Arc::new(Life {
            pid: child.id(),
            goes_on: Mutex::new(true),
            lines: AtomicU64::new(0),
            hung: AtomicBool::new(false),
        });
        let lines = child.stderr.take();
        // From here on it is killed where something fails.
        let mut running =
            Running { name: name.to_owned(), child, narrator: None, watch: None, patience: None, life, reaped: false };
        if let Some(lines) = lines {
            let (name, life) = (name.to_owned(), running.life.clone());
            let narrator = Builder::new().name("narrator".into());
            let narrator = narrator.spawn(move || narrate(&name, lines, examiner, &life)).map_err(limits::explain)?;
            running.narrator = Some(narrator);
        }
        Ok(running)
    }

    /// Waits for the child's end.
    pub fn wait(mut self) -> io::Result<Ended<E>> {
        let status = self.reap(WaitIdOptions::EXITED)?;
        match status {
            Some(status) => self.ended(status),
            None => Err(io::Error::other(format!("{} did not end", self.name))),
        }
    }

    /// Waits for the child's end as long as it is wanted; then kills it, which is seen in the status.
    pub fn wait_while(mut self, mut is_wanted: impl FnMut() -> bool) -> io::Result<Ended<E>> {
        while is_wanted() {
            if let Some(status) = self.reap(WaitIdOptions::EXITED | WaitIdOptions::NOHANG)? {
                return self.ended(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill();
        self.wait()
    }

    /// Waits for the child's end as long as it moves; one that does nothing for `patience` is killed.
    pub fn wait_while_moving(self, patience: Duration) -> io::Result<Ended<E>> {
        let mut standstill = Standstill::of(self.child.id(), patience);
        let (life, mut hung) = (self.life.clone(), false);
        let mut ended = self.wait_while(|| {
            hung = !standstill.is_moving(life.lines.load(Ordering::Relaxed));
            !hung
        })?;
        ended.hung_for = hung.then_some(patience).filter(|_| is_kill(ended.status));
        Ok(ended)
    }

    /// Kills the child from now on when it has done nothing for `patience`: for one whose output is read, not its end waited for.
    pub fn killed_at_standstill(mut self, patience: Duration) -> io::Result<Running<E>> {
        let life = self.life.clone();
        let watch = move || life.kill_at_standstill(Standstill::of(life.pid, patience), patience);
        Builder::new().name("standstill".into()).spawn(watch).map_err(limits::explain)?;
        self.patience = Some(patience);
        Ok(self)
    }

    fn ended(mut self, status: ExitStatus) -> io::Result<Ended<E>> {
        self.reaped = true;
        disown(self.child.id());
        // What the child started, and left behind, would keep its standard error open.
        self.kill();
        let narrated = self.narrator.take().and_then(join_soon);
        let Narrated { lines, was_stopped } = narrated.ok_or_else(|| {
            io::Error::other(format!(
                "the lines of {} were not examined to the end: a process that it left behind keeps its standard error",
                self.name
            ))
        })?;
        let outgrown = self.watch.take().and_then(Watch::finish).filter(|_| is_kill(status));
        let hung = self.life.hung.load(Ordering::SeqCst) && is_kill(status);
        Ok(Ended { status, lines, was_stopped, outgrown, hung_for: self.patience.filter(|_| hung) })
    }
}

impl<E> Running<E> {
    /// Kills the child from now on where it uses more memory. Without a ceiling, or where the kernel can't have it
    /// watched, that is left to the kernel.
    pub fn below(mut self, ceiling: Option<Ceiling>) -> Running<E> {
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
        Ok(self.reap(WaitIdOptions::EXITED | WaitIdOptions::NOHANG)?.is_some())
    }

    /// Kills the child and all that it started.
    pub fn kill(&self) {
        kill_group(self.child.id());
    }

    /// Nobody kills it by its number once it has been reaped.
    fn reap(&mut self, options: WaitIdOptions) -> io::Result<Option<ExitStatus>> {
        if *self.life.lock() {
            let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
            let mut ended = waitid(WaitId::Pid(pid), options | WaitIdOptions::NOWAIT);
            while ended.as_ref().is_err_and(|error| *error == rustix::io::Errno::INTR) {
                ended = waitid(WaitId::Pid(pid), options | WaitIdOptions::NOWAIT);
            }
            if ended?.is_none() {
                return Ok(None);
            }
        }
        *self.life.lock() = false;
        self.child.wait().map(Some)
    }
}

impl<E> Drop for Running<E> {
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        self.kill();
        let status = self.reap(WaitIdOptions::EXITED);
        disown(self.child.id());
        debug!(tool = %self.name, ?status, "killed and reaped");
    }
}

/// What the thread found, where it ends within a moment of the child. Else a process that the child started, and that is in
/// no group of ours, keeps its standard error open.
fn join_soon<T>(thread: JoinHandle<T>) -> Option<T> {
    let deadline = Instant::now() + LAST_WORDS;
    while !thread.is_finished() {
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    thread.join().ok()
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

/// Whether somebody waits for this child.
pub fn is_owned(pid: u32) -> bool {
    owned().contains(&pid)
}

/// Kills every child that somebody waits for, with all that it started: for a process that is about to end. None is started
/// from then on.
pub fn kill_all() {
    let owned = owned();
    ARE_ENDED.store(true, Ordering::SeqCst);
    owned.iter().copied().for_each(kill_group);
}

/// Whether they were: what is seen of a child's end then says nothing about it.
pub fn are_ended() -> bool {
    ARE_ENDED.load(Ordering::SeqCst)
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
    if are_ended() {
        return Err(io::Error::other("told to stop"));
    }
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

/// Has every line examined, logs those that matter, and ends the child where one says that it must be.
fn narrate<E: Examine>(name: &str, input: ChildStderr, mut lines: E, life: &Life) -> Narrated<E> {
    let (mut input, mut teller, mut was_stopped) = (Lines::of(BufReader::new(input)), Teller::of(name), false);
    while let Some(line) = input.next() {
        life.lines.fetch_add(1, Ordering::Relaxed);
        let importance = lines.examine(&line);
        if importance == Importance::Fatal && !was_stopped {
            life.kill();
            was_stopped = true;
        }
        teller.tell(importance, &line);
    }
    teller.finish();
    Narrated { lines, was_stopped }
}

#[cfg(test)]
mod tests;

//! Processes: started, awaited until a deadline, ended, and measured.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

/// Long enough for a slow machine. In a good run every wait is far shorter.
pub const PATIENCE: Duration = Duration::from_secs(900);

/// Between two looks at an awaited condition.
const PERIOD: Duration = Duration::from_millis(5);

/// Clock ticks in /proc, a second: the same on every Linux target of Rust except the oldest.
const TICKS: f64 = 100.0;

/// A path, because some shells have a builtin of that name.
const TIME: &str = "/usr/bin/time";

/// Processes with an owner. Any other child of ours is an orphan.
static HELD: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// A process that is killed when it is dropped.
pub struct Process {
    name: String,
    child: Child,
}

impl Process {
    pub fn start(command: &mut Command) -> Result<Process> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().with_context(|| format!("starting {command:?}"))?;
        HELD.lock().expect("held").insert(child.id());
        Ok(Process { name, child })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Its exit status, after its end.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for its end, which must be a success.
    pub fn finish(&mut self) -> Result<()> {
        let status = wait_for(&format!("the end of {}", self.name), || self.ended())?;
        ensure!(status.success(), "{} ended with {status}", self.name);
        Ok(())
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        signal_to(self.pid(), signal)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        HELD.lock().expect("held").remove(&self.child.id());
    }
}

/// Seconds of processor time.
#[derive(Clone, Copy)]
pub struct Usage {
    /// Of the process itself.
    pub own: f64,
    /// Of its reaped children.
    pub children: f64,
}

/// The processor time of a living process so far.
pub fn usage(pid: u32) -> Result<Usage> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    // The second field, a name in parentheses, may hold anything; utime is the fourteenth. (proc(5))
    let (_, rest) = text.rsplit_once(") ").context("no name in it")?;
    let ticks: Vec<f64> = rest.split(' ').skip(11).take(4).map(str::parse).collect::<Result<_, _>>()?;
    ensure!(ticks.len() == 4, "{path}: {text}");
    Ok(Usage { own: (ticks[0] + ticks[1]) / TICKS, children: (ticks[2] + ticks[3]) / TICKS })
}

/// The most memory that a living process has held, in MiB.
pub fn peak_memory(pid: u32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes / 1024.0)
}

fn signal_to(pid: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no process id")?;
    Ok(kill_process(pid, signal)?)
}

/// Kills the orphans of killed processes, which are children of this first process. Call it only while no other thread
/// runs commands.
pub fn sweep() -> Result<()> {
    loop {
        let orphans: Vec<u32> = {
            let (held, all) = (HELD.lock().expect("held"), std::fs::read_dir("/proc")?);
            let numbers = all.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
            numbers.filter(|pid| !held.contains(pid) && parent_of(*pid) == Some(std::process::id())).collect()
        };
        if orphans.is_empty() {
            return Ok(());
        }
        for pid in orphans {
            signal_to(pid, Signal::KILL)?;
            waitpid(i32::try_from(pid).ok().and_then(Pid::from_raw), WaitOptions::empty())?;
        }
    }
}

fn parent_of(pid: u32) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// Runs a short command to its end. Returns its output; on failure the error quotes it.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}: {}", output.status, error.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The last words of a log.
pub fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    String::from_utf8_lossy(&text[text.len().saturating_sub(2000)..]).into_owned()
}

/// A command that writes the processor time of all its processes to a file, for [`time_in`].
pub fn timed(file: &Path, program: &str) -> Command {
    let mut command = Command::new(TIME);
    command.args(["--format", "%U %S", "--output"]).arg(file).arg(program);
    command
}

/// The same, as shell words.
pub fn timed_words(file: &Path) -> String {
    format!("{TIME} --format '%U %S' --output {}", quoted(file))
}

/// The seconds in such a file, once its program has ended.
pub fn time_in(file: &Path) -> Result<f64> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let line = text.lines().next_back().unwrap_or_default();
    let seconds: Vec<f64> = line.split(' ').map(str::parse).collect::<Result<_, _>>().context(text.clone())?;
    Ok(seconds.iter().sum())
}

/// A path as a word for a shell.
pub fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

/// Asks until it gets an answer.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(answer) = ask().with_context(|| format!("waiting for {what}"))? {
            return Ok(answer);
        }
        std::thread::sleep(PERIOD);
    }
    bail!("waited {} seconds for {what}", PATIENCE.as_secs())
}

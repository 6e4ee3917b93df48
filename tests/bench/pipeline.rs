//! The tutorial's way: `ncat` serves what a command writes, `ncat` and `mbstream` unpack it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};
use rustix::process::Signal;

use crate::process::{self, Process, child_of, quoted, signal_to, time_in, timed, timed_words, wait_for};
use crate::server::backup_arguments;

/// Beside the sidecar's.
const PORT: u16 = 3308;

/// What the donor's `ncat` is told.
pub enum Serving<'a> {
    /// A recorded stream, once.
    Recorded(&'a Path),
    /// The backup tool on this data directory, for whoever comes, as in the tutorial.
    Tool(&'a Path),
}

/// What a transfer took.
pub struct Piped {
    /// From the recipient's start until all was unpacked and synced.
    pub wall: f64,
    pub recipient_cpu: f64,
    /// Of the donor's `ncat` without the command that it runs.
    pub relay_cpu: f64,
    /// Of that command.
    pub command_cpu: f64,
}

/// Runs both sides; the files are in `directory` afterwards.
pub fn run(serving: &Serving<'_>, directory: &Path, work: &Path) -> Result<Piped> {
    let time = |name: &str| work.join(format!("{name}.time"));
    let names = ["command", "relay", "ncat", "mbstream"];
    for name in names {
        let _ = std::fs::remove_file(time(name));
    }
    let log = work.join("command.log");
    let mut listener = timed(&time("relay"), "ncat");
    listener.arg("--listen");
    let command = match serving {
        Serving::Recorded(stream) => format!("cat {}", quoted(stream)),
        Serving::Tool(data_dir) => {
            listener.args(["--keep-open", "--max-conns=1"]);
            format!("mariadb-backup {} --stream=xbstream", backup_arguments(data_dir).join(" "))
        }
    };
    let command = format!("{} {command} 2>{}", timed_words(&time("command")), quoted(&log));
    listener.args(["--send-only", "127.0.0.1", &PORT.to_string(), "-c", &command]).current_dir(work.join("tmp"));
    let mut listener = Process::start(listener.stdin(Stdio::null()))?;
    wait_for("ncat to listen", || is_listening(PORT))?;

    let started = Instant::now();
    receive(directory, &time).with_context(|| process::tail(&log))?;
    let wall = started.elapsed().as_secs_f64();

    if matches!(serving, Serving::Tool(_)) {
        end(&listener)?;
        wait_for("ncat's end", || listener.ended())?;
        anyhow::ensure!(process::tail(&log).contains("completed OK!"), "{}", process::tail(&log));
    } else {
        listener.finish()?;
    }
    let [command_cpu, relay, ncat, mbstream] = names.map(|name| time_in(&time(name)));
    let command_cpu = command_cpu?;
    Ok(Piped { wall, recipient_cpu: ncat? + mbstream?, relay_cpu: relay? - command_cpu, command_cpu })
}

fn receive(directory: &Path, time: &dyn Fn(&str) -> std::path::PathBuf) -> Result<()> {
    let into = quoted(directory);
    let script = format!(
        "{} ncat --recv-only 127.0.0.1 {PORT} | {} mbstream -x -C {into} && sync -f {into}",
        timed_words(&time("ncat")),
        timed_words(&time("mbstream"))
    );
    Process::start(Command::new("sh").args(["-c", &script]).stdin(Stdio::null()))?.finish()
}

/// Ends an `ncat` that would go on listening, once it has waited for the command's end: only then does its processor
/// time hold the command's.
fn end(listener: &Process) -> Result<()> {
    let ncat = child_of(listener.pid()).context("ncat is gone")?;
    wait_for("the command's end", || Ok(child_of(ncat).is_none().then_some(())))?;
    signal_to(ncat, Signal::TERM)
}

/// Asked of the kernel: a connection would be taken for the recipient's.
fn is_listening(port: u16) -> Result<Option<()>> {
    let sockets = std::fs::read_to_string("/proc/net/tcp")?;
    let address = format!(":{port:04X}");
    // Address, peer's address, and state; 0A is listening. (proc(5))
    let found = sockets.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next().is_some_and(|local| local.ends_with(&address)) && fields.nth(1) == Some("0A")
    });
    Ok(found.then_some(()))
}

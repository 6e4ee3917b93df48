//! The tutorial's way: `ncat` serves what a command writes, `ncat` and `mbstream` unpack it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::process::{self, Process, quoted, time_in, timed_words, usage, wait_for};
use crate::server::backup_arguments;
use anyhow::{Context, Result};

/// Beside the sidecar's.
const PORT: u16 = 3308;

/// Ends the output, and the process later: `ncat` loses bytes where its command's end, a signal, meets it while it waits to
/// send (seen with 7.93: `mbstream` found a wrong checksum in the last chunk). All is closed that a command inherits, the
/// connection too, so that the recipient doesn't wait for it.
const LINGER: &str = "exec >&- 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; sleep 60";

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
///
/// The relay's processor time is what is left of all that was used here: `ncat` doesn't always wait for its command, so
/// that its own time may or may not hold the command's. What it leaves behind comes to us, as the first process here.
pub fn run(serving: &Serving<'_>, directory: &Path, work: &Path) -> Result<Piped> {
    let time = |name: &str| work.join(format!("{name}.time"));
    let _ = std::fs::remove_file(time("command"));
    let log = work.join("command.log");
    let before = usage(std::process::id())?.children;
    let mut listener = Command::new("ncat");
    listener.arg("--listen");
    let command = match serving {
        Serving::Recorded(stream) => format!("cat {}", quoted(stream)),
        Serving::Tool(data_dir) => {
            listener.args(["--keep-open", "--max-conns=1"]);
            format!("mariadb-backup {} --stream=xbstream", backup_arguments(data_dir).join(" "))
        }
    };
    let command = format!("{} {command} 2>{}; {LINGER}", timed_words(&time("command")), quoted(&log));
    listener.args(["--send-only", "127.0.0.1", &PORT.to_string(), "-c", &command]).current_dir(work.join("tmp"));
    let listener = Process::start(listener.stdin(Stdio::null()))?;
    wait_for("ncat to listen", || is_listening(PORT))?;

    let started = Instant::now();
    receive(directory, &time).with_context(|| process::tail(&log))?;
    let wall = started.elapsed().as_secs_f64();

    let command_cpu = wait_for("the command's end", || Ok(time_in(&time("command")).ok()))?;
    if matches!(serving, Serving::Tool(_)) {
        anyhow::ensure!(process::tail(&log).contains("completed OK!"), "{}", process::tail(&log));
    }
    // The recipient has it all, and the command's time is written: what is left only waits.
    drop(listener);
    process::sweep()?;
    let all = usage(std::process::id())?.children - before;
    let recipient_cpu = time_in(&time("ncat"))? + time_in(&time("mbstream"))?;
    let relay_cpu = all - command_cpu - recipient_cpu - time_in(&time("sync"))?;
    Ok(Piped { wall, recipient_cpu, relay_cpu, command_cpu })
}

fn receive(directory: &Path, time: &dyn Fn(&str) -> std::path::PathBuf) -> Result<()> {
    let into = quoted(directory);
    let script = format!(
        "{} ncat --recv-only 127.0.0.1 {PORT} | {} mbstream -x -C {into} && {} sync -f {into}",
        timed_words(&time("ncat")),
        timed_words(&time("mbstream")),
        timed_words(&time("sync"))
    );
    Process::start(Command::new("sh").args(["-c", &script]).stdin(Stdio::null()))?.finish()
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

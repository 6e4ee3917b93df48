//! The tutorial's pipeline: `ncat` serves a command's output, `ncat` and `mbstream` unpack it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::process::{self, Process, quoted, time_in, timed_words, usage, wait_for};
use crate::server::backup_arguments;
use anyhow::{Context, Result};

/// Next to the sidecar's port.
const PORT: u16 = 3308;

/// Ends the output, and later the process. `ncat` loses bytes if the signal of its command's end arrives while it waits
/// to send. (Seen with 7.93: `mbstream` found a wrong checksum in the last chunk.) The command closes every inherited
/// descriptor, the connection too, so the recipient sees the end at once.
const LINGER: &str = "exec >&- 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; sleep 60";

/// The command for the donor's `ncat`.
pub enum Serving<'a> {
    /// A recorded stream, once.
    Recorded(&'a Path),
    /// The backup tool on this data directory, for every caller, as in the tutorial.
    Tool(&'a Path),
}

/// The cost of a transfer.
pub struct Piped {
    /// From the recipient's start to the sync of the last file.
    pub wall: f64,
    pub recipient_cpu: f64,
    /// Of the donor's `ncat` without its command.
    pub relay_cpu: f64,
    /// Of that command.
    pub command_cpu: f64,
}

/// Runs both sides; afterwards the files are in `directory`.
///
/// The relay's processor time is the remainder of all time used here. `ncat` may end before its command, so its own
/// time may or may not include the command's. Its orphans come to this process, the first one here.
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
    // The recipient has everything, and the command's time is written. Any process left only waits.
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

/// Asks the kernel: the listener would take a connection for the recipient's.
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

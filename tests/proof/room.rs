//! The namespaces of the proof: processes, network and mounts of its own.
//!
//! The proof runs itself once more as the first process in them. Ports are free, and small volumes are mounted for this
//! process alone. The programs of the tested server lie at `/usr`. All processes end with the proof, in every case.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use harness::pods::servers::tested;
use harness::pods::work_directory;

/// Names the directory that the inner proof writes to.
const WORK: &str = "MYSQLSET_PROOF_WORK";

/// The side on which this process is.
pub enum Room {
    Inside(PathBuf),
    /// The inner proof ran and ended with this code.
    Ended(ExitCode),
}

pub fn enter() -> Result<Room> {
    if let Some(work) = std::env::var_os(WORK) {
        return Ok(Room::Inside(work.into()));
    }
    let work = work_directory()?;
    let usr = tested().usr()?;
    // A bind of /usr on itself would be useless. Later programs must come from the server's own directory.
    let furnish = "ip link set lo up && mkdir -p \"$1\" && if [ \"$2\" != /usr ]; then mount --bind \"$2\" /usr; fi && exec \"$0\"";
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    command.args([
        "unshare",
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "sh",
        "-c",
        furnish,
    ]);
    command.arg(std::env::current_exe()?).arg(work.join("tmp")).arg(usr).env(WORK, &work);
    // Servers and tools name temporary files by their process ids.
    command.env("TMPDIR", work.join("tmp"));
    let ended = command.status().context("starting the proof inside");
    remove(&work)?;
    Ok(Room::Ended(if ended?.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }))
}

/// Deletes a file or a directory, if it exists.
pub fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("deleting {}", path.display()))
        }
        _ => Ok(()),
    }
}

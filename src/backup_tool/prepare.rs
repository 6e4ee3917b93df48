//! Prepare: the backup tool turns what it copied while the server wrote into data that a server can start on.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use tracing::info;

use super::left_files::{self, Checkpoints};
use super::{BackupTool, path_option};
use crate::child::Running;
use crate::exit::Reason;

/// The outcome of one try.
pub enum Prepared {
    /// The data are consistent, by the tool's status and by what it wrote.
    Whole,
    /// It did not work; why.
    Failed(anyhow::Error),
}

/// Prepares a backup in place. Interrupted, it can be started again on the same directory (seen with XtraBackup 2.3
/// and mariadb-backup 10.11).
pub fn prepare(tool: &BackupTool, directory: &Path, memory: u64) -> Result<Prepared> {
    info!(tool = %tool, memory_bytes = memory, "preparing");
    let mut command = Command::new(&tool.program);
    command
        .args(["--prepare", &format!("--use-memory={memory}")])
        .arg(path_option("--target-dir=", directory))
        .current_dir(directory);
    let ended = Running::start(&mut command, &tool.name(), Stdio::null())
        .and_then(Running::wait)
        .with_context(|| format!("running {}", tool.program.display()))?;
    if !ended.status.success() {
        let hint = if ended.was_killed() { " (out of memory?)" } else { "" };
        let complaint = ended.tail.complaint();
        return Ok(Prepared::Failed(Reason::Prepare.error(format!("{tool} {}{hint}: {complaint}", ended.in_words()))));
    }
    Ok(match left_files::checkpoints(directory)? {
        Some(Checkpoints::Prepared) => Prepared::Whole,
        _ => Prepared::Failed(Reason::Prepare.error(format!(
            "{tool} ended with success, but its checkpoints file does not say that the backup is prepared"
        ))),
    })
}

//! Prepare: the backup tool turns what it copied while the server wrote into data that a server can start on.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};
use tracing::{info, warn};

use super::left_files::{self, Checkpoints};
use super::{BackupTool, Family, memory};
use crate::child::{Running, path_option};
use crate::exit::{self, Reason};
use crate::limits::Descriptors;
use crate::progress::Progress;

/// Linux AIO instead of io_uring, which mariadb-backup takes where it has both and the container may: a prepare of 79,000
/// pages took 9.7 s with io_uring and 8.7 without, whether its files were in the page cache or not (10.11 on Linux 6.18).
/// Releases before MDEV-36234 don't know it; newer ones of them warn. Where there is no Linux AIO (a build without, a
/// kernel that refuses, a node's `fs.aio-max-nr` used up) the tool goes on with threads of its own.
const LINUX_AIO: &str = "--loose-innodb-linux-aio=aio";

/// The outcome of one try.
pub enum Prepared {
    /// The data are consistent, by the tool's status and by what it wrote.
    Whole,
    /// It did not work; why.
    Failed(anyhow::Error),
}

/// Prepares a backup in place. Interrupted, it can be started again on the same directory (seen with XtraBackup 2.3
/// and mariadb-backup 10.11), but for a few moments at its end, after which it fails and says so: mariadb-backup killed
/// before it has filled its new log finds that one too small.
///
/// `memory` is in bytes; a backup that was tried before (`earlier_tries`) leaves more of the choices to the tool.
pub fn prepare(tool: &BackupTool, directory: &Path, memory: u64, earlier_tries: u32) -> Result<Prepared> {
    info!(tool = %tool, memory_bytes = memory, "preparing");
    let mut command = Command::new(&tool.program);
    command.args(options(tool.family, directory, memory, earlier_tries)).current_dir(directory);
    let files = Descriptors::for_backup(directory)
        .map_err(|error| exit::disk_error(error, format!("counting the files in {}", directory.display())))?;
    files.map_err(|too_few| Reason::Limit.because(too_few))?.give_to(&mut command);
    let (started, progress) = (Instant::now(), Progress::of("preparing"));
    let ended = Running::start(&mut command, &tool.name(), Stdio::null())
        .and_then(|running| running.below(memory::ceiling()).wait())
        .with_context(|| format!("running {}", tool.program.display()))?;
    drop(progress);
    if !ended.status.success() {
        let hint = if ended.was_killed() { " (out of memory?)" } else { "" };
        let complaint = ended.tail.complaint();
        return Ok(Prepared::Failed(Reason::Prepare.error(format!("{tool} {}{hint}: {complaint}", ended.in_words()))));
    }
    if left_files::checkpoints(directory)? != Some(Checkpoints::Prepared) {
        return Ok(Prepared::Failed(Reason::Prepare.error(format!(
            "{tool} ended with success, but its checkpoints file does not say that the backup is prepared"
        ))));
    }
    info!(seconds = started.elapsed().as_secs_f64(), "prepared");
    Ok(match (reached_lsn(ended.tail.lines()), left_files::last_lsn(directory)?) {
        (Some(reached), Some(last)) if reached < last => Prepared::Failed(Reason::Prepare.error(format!(
            "{tool} ended with success at log sequence number {reached}, but the backup goes on to {last}: \
             part of its log is missing or damaged"
        ))),
        (Some(_), Some(_)) => Prepared::Whole,
        (reached, last) => {
            warn!(
                ?reached,
                ?last,
                "{tool} does not say how far it came: that all of the log was applied is not checked"
            );
            Prepared::Whole
        }
    })
}

fn options(family: Family, directory: &Path, memory: u64, earlier_tries: u32) -> Vec<OsString> {
    let mut options: Vec<OsString> = vec![
        "--prepare".into(),
        format!("--use-memory={memory}").into(),
        path_option("--target-dir=", directory),
        // On the volume, in the directory that goes when the clone is published: the root may be read-only.
        path_option("--tmpdir=", directory.parent().unwrap_or(directory)),
    ];
    // Whatever may have been wrong with it where it failed: the tool chooses by itself then.
    if family == Family::Mariadb && earlier_tries == 0 {
        options.push(LINUX_AIO.into());
    }
    options
}

/// The log sequence number that a prepare has reached, as the tools say it: InnoDB of MariaDB since 10.8 and of MySQL,
/// and XtraBackup itself. The tools end with success when the log's end is missing (seen with mariadb-backup 10.11 and
/// XtraBackup 2.3).
fn reached_lsn<'a>(lines: impl Iterator<Item = &'a str>) -> Option<u64> {
    const WORDS: [&str; 3] = ["End of log at LSN=", "scanned up to log sequence number ", "Log applied to lsn "];
    let number = |line: &'a str| {
        let rest = WORDS.iter().find_map(|words| line.split_once(words))?.1;
        rest.split(|character: char| !character.is_ascii_digit()).next()?.parse::<u64>().ok()
    };
    lines.filter_map(number).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mariadbs_tool_is_told_of_linux_aio_and_only_at_first() {
        let words = |family, earlier_tries| {
            let options = options(family, Path::new("/stage/data"), 1000, earlier_tries);
            options.into_iter().map(|word| word.into_string().unwrap()).collect::<Vec<_>>().join(" ")
        };
        let common = "--prepare --use-memory=1000 --target-dir=/stage/data --tmpdir=/stage";
        assert_eq!(words(Family::Percona, 0), common);
        assert_eq!(words(Family::Mariadb, 1), common);
        assert_eq!(words(Family::Mariadb, 0), format!("{common} --loose-innodb-linux-aio=aio"));
    }

    #[test]
    fn the_number_reached_is_the_largest_that_the_tool_names() {
        let mariadb = ["2026-11-24 10:53:15 0 [Note] InnoDB: End of log at LSN=24842282", "completed OK!"];
        assert_eq!(reached_lsn(mariadb.into_iter()), Some(24842282));
        let percona = [
            "InnoDB: Doing recovery: scanned up to log sequence number 5242880 (51%)",
            "InnoDB: Doing recovery: scanned up to log sequence number 6541563 (100%)",
            "xtrabackup: Log applied to lsn 6541563",
        ];
        assert_eq!(reached_lsn(percona.into_iter()), Some(6541563));
        assert_eq!(reached_lsn(["completed OK!"].into_iter()), None);
    }
}

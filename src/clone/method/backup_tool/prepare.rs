//! Prepare: the backup tool turns a copy made while the server wrote into data on which a server can start.
//!
//! It runs once. A failed prepare has changed the files, and a second one on them reports success over lost rows (seen
//! with mariadb-backup 10.11 and 11.8: 489 of 1,500 tables). A killed prepare may run again only while the log is still
//! as received ([`crate::datadir::received_log`]).

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::lines::{PrepareLines, Words};
use super::{BackupTool, Family, server_options};
use crate::datadir::backup_metadata::{self, Checkpoints};
use crate::model::event::info;
use crate::model::exit::Reason;
use crate::observe::progress::Progress;
use crate::sys::child::{Ended, Running, path_option};
use crate::sys::container_memory;
use crate::sys::disk::disk_error;
use crate::sys::limits::Descriptors;

/// Selects Linux AIO instead of io_uring, which mariadb-backup prefers if it has both and the container permits it. A
/// prepare of 79,000 pages took 9.7 s with io_uring and 8.7 with Linux AIO, with its files in the page cache or outside
/// it (10.11 on Linux 6.18).
///
/// Releases before MDEV-36234 lack the option; newer ones of them warn. If Linux AIO is missing (a build without it, a
/// kernel that refuses, a node's `fs.aio-max-nr` used up), the tool continues with threads of its own.
const LINUX_AIO: &str = "--loose-innodb-linux-aio=aio";

/// The result of a check on a copy.
pub enum Prepared {
    /// The copy passed.
    Whole,
    /// The copy failed, with the reason.
    Failed(anyhow::Error),
}

/// The outcome of one run of the tool.
pub enum Attempt {
    /// The data is consistent: both the tool's status and every line of its output say so.
    Whole(Proof),
    /// The prepare failed, and its result is worthless.
    Failed(anyhow::Error),
    /// The tool was killed during the run, perhaps because of its memory.
    Killed { error: anyhow::Error, for_memory: bool },
}

/// What the lines of a prepare prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// All of the backup's log was applied, and every line was harmless.
    Complete,
    /// The same as far as is known: this tool's lines are unknown.
    UnknownWords,
    /// Every line was harmless, but this tool omits how far it came.
    UnknownEnd,
}

/// A prepare that prints, reads and writes nothing for this long has hung. A working one prints its progress every 15
/// seconds.
const STANDSTILL: Duration = Duration::from_secs(600);

/// Prepares a backup in place. `memory` is in bytes. After earlier tries, on this backup or others, more choices are
/// left to the tool.
pub fn prepare(tool: &BackupTool, directory: &Path, memory: u64, earlier_tries: u32) -> Result<Attempt> {
    info!(PrepareBegun, tool = %tool, memory_bytes = memory, "preparing");
    let mut command = Command::new(&tool.program);
    command.args(options(tool.family, directory, memory, earlier_tries)).current_dir(directory);
    let files = Descriptors::for_backup(directory)
        .map_err(|error| disk_error(error, format!("cannot count the files in {}", directory.display())))?;
    files.map_err(|too_few| Reason::Limit.because(too_few))?.give_to(&mut command);
    let (started, progress) = (Instant::now(), Progress::of("preparing"));
    let lines = PrepareLines::of(tool.family);
    let ended = Running::examined(&mut command, &tool.name(), Stdio::null(), lines)
        .and_then(|running| running.below(container_memory::ceiling()).wait_while_moving(STANDSTILL))
        .with_context(|| format!("cannot run {}", tool.program.display()))?;
    drop(progress);
    let attempt = outcome(tool, directory, &ended)?;
    if matches!(attempt, Attempt::Whole(_)) {
        info!(PrepareDone, seconds = started.elapsed().as_secs_f64(), "prepared");
    }
    Ok(attempt)
}

fn outcome(tool: &BackupTool, directory: &Path, ended: &Ended<PrepareLines>) -> Result<Attempt> {
    let failed = |why: String| Ok(Attempt::Failed(Reason::Prepare.error(format!("{tool} {why}"))));
    if let Some((fault, line)) = ended.lines.fault() {
        let why = format!("{tool} {}: {}", ended.in_words(), fault.explained(line));
        return Ok(Attempt::Failed(fault.reason().error(why)));
    }
    if ended.met_limit() {
        return Ok(Attempt::Failed(Reason::Limit.error(format!("{tool} {}", ended.why()))));
    }
    if ended.may_have_outgrown() || ended.was_interrupted() {
        let hint = if ended.was_killed() { " (out of memory?)" } else { "" };
        let error = Reason::Prepare.error(format!("{tool} {}{hint}", ended.in_words()));
        return Ok(Attempt::Killed { error, for_memory: ended.may_have_outgrown() });
    }
    if !ended.status.success() {
        return failed(ended.why());
    }
    if ended.lines.was_prepared() {
        return failed(
            "found the backup prepared already, and the outcome of that earlier prepare is unknown".to_owned(),
        );
    }
    if !ended.lines.is_completed() {
        return failed("ended with success, but did not say \"completed OK!\"".to_owned());
    }
    if backup_metadata::checkpoints(directory)? != Some(Checkpoints::Prepared) {
        return failed(
            "ended with success, but its checkpoints file does not say that the backup is prepared".to_owned(),
        );
    }
    Ok(match proof_of(tool.words(), ended.lines.reached(), backup_metadata::last_lsn(directory)?) {
        Ok(proof) => Attempt::Whole(proof),
        Err(why) => return failed(format!("ended with success, but {why}")),
    })
}

/// What the end of a recovery proves, if the backup's log goes on to `last`.
fn proof_of(words: Words, reached: Option<u64>, last: Option<u64>) -> Result<Proof, String> {
    match (words, reached, last) {
        (_, Some(reached), Some(last)) if reached < last => Err(format!(
            "at log sequence number {reached}, while the backup goes on to {last}: part of its log is missing or damaged"
        )),
        (Words::Unread, ..) => Ok(Proof::UnknownWords),
        (_, _, None) => Err("the backup's checkpoints file does not say where its log ends".to_owned()),
        (_, Some(_), Some(_)) => Ok(Proof::Complete),
        (Words::WithoutEnd, None, Some(_)) => Ok(Proof::UnknownEnd),
        (Words::Known, None, Some(_)) => {
            Err("does not say which log sequence number it reached: part of the log may be unapplied".to_owned())
        }
    }
}

fn options(family: Family, directory: &Path, memory: u64, earlier_tries: u32) -> Vec<OsString> {
    let mut options: Vec<OsString> = vec![
        server_options::argument(directory),
        "--prepare".into(),
        format!("--use-memory={memory}").into(),
        path_option("--target-dir=", directory),
        // On the volume, in the directory that is removed when the clone is published: the root may be read-only.
        path_option("--tmpdir=", directory.parent().unwrap_or(directory)),
    ];
    // After a failure the tool chooses by itself: the option may have been the cause.
    if family == Family::Mariadb && earlier_tries == 0 {
        options.push(LINUX_AIO.into());
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mariadbs_first_prepare_selects_linux_aio() {
        let words = |family, earlier_tries| {
            let options = options(family, Path::new("/stage/data"), 1000, earlier_tries);
            options.into_iter().map(|word| word.into_string().unwrap()).collect::<Vec<_>>().join(" ")
        };
        let common = "--defaults-file=/stage/data/backup-my.cnf --prepare --use-memory=1000 --target-dir=/stage/data --tmpdir=/stage";
        assert_eq!(words(Family::Percona, 0), common);
        assert_eq!(words(Family::Mariadb, 1), common);
        assert_eq!(words(Family::Mariadb, 0), format!("{common} --loose-innodb-linux-aio=aio"));
    }

    #[test]
    fn an_unknown_or_early_end_proves_nothing() {
        for (words, reached, last, expected) in [
            (Words::Known, Some(7), Some(7), Some(Proof::Complete)),
            (Words::Known, Some(8), Some(7), Some(Proof::Complete)),
            (Words::Known, Some(6), Some(7), None),
            (Words::Known, None, Some(7), None),
            (Words::Known, Some(7), None, None),
            (Words::WithoutEnd, None, Some(7), Some(Proof::UnknownEnd)),
            (Words::WithoutEnd, Some(7), Some(7), Some(Proof::Complete)),
            (Words::WithoutEnd, Some(6), Some(7), None),
            (Words::WithoutEnd, None, None, None),
            (Words::Unread, Some(9), Some(7), Some(Proof::UnknownWords)),
            (Words::Unread, None, None, Some(Proof::UnknownWords)),
            (Words::Unread, Some(6), Some(7), None),
        ] {
            assert_eq!(proof_of(words, reached, last).ok(), expected, "{words:?} {reached:?} {last:?}");
        }
    }
}

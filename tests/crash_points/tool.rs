//! The backup tool killed while it prepares: alone, with the clone that waits for it, and with the machine's power.

use std::os::unix::process::ExitStatusExt;

use anyhow::{Context, Result, ensure};
use harness::lab::demands::{Look, at_the_kill, of_a_finished_clone, of_the_next_start};
use harness::lab::disk::Disk;
use harness::lab::points::{self, Point};
use harness::lab::tool::{REAL, Tool, killing};
use harness::lab::volume::{Place, Volume};
use harness::lab::{LOCKED, Lab};
use harness::needs;
use rustix::process::Signal;

/// The calls by which the tool changes the disk. Several threads make many of them. A point is the first thread's call
/// of that number, so the last numbers may stay unreached.
const CALLS: &[&str] =
    &["rename", "unlink", "pwrite64", "ftruncate", "fallocate", "fsync", "fdatasync", "io_submit", "io_uring_enter"];

/// The exit code of "the backup could not be prepared".
const NOT_PREPARED: i32 = 41;

/// The log's text for such an end of the tool.
const KILLED: &str = "killed by signal 9";

/// Some points lead to another backup. A kill between making the new log and filling it leaves mariadb-backup 10.11.19
/// unable to prepare the same backup again ("ib_logfile0 is too small").
#[test]
fn the_tool_is_killed_and_started_again() -> Result<()> {
    needs!(BackupTool);
    let lab = Lab::start()?;
    for point in points_of_the_tool(&lab)? {
        let volume = Volume::new(&lab, "volume", Place::Beside)?;
        let tool = Tool::new(&lab, &format!("mkdir $0.once && exec {}", killing(&point)))?;
        let output = lab.clone_with(&volume, &tool.directory)?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the tool {point}: ended with {}: {error}", output.status);
        ensure!(error.contains(KILLED) || point.may_be_missed(), "the tool {point}: was not reached: {error}");
        of_a_finished_clone(&lab, &volume, Look::AtRows).with_context(|| format!("the tool {point}"))?;
        volume.remove()?;
    }
    Ok(())
}

#[test]
fn a_tool_that_is_always_killed_is_a_reason_to_stop() -> Result<()> {
    needs!(BackupTool);
    let lab = Lab::start()?;
    for place in [Place::Beside, Place::Inside] {
        let volume = Volume::new(&lab, "volume", place)?;
        let tool = Tool::new(&lab, &format!("exec {}", killing(&Point::at("openat", 20))))?;
        let output = lab.clone_with(&volume, &tool.directory)?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(NOT_PREPARED), "ended with {}: {error}", output.status);
        ensure!(error.contains(KILLED), "{error}");
        ensure!(!at_the_kill(&lab, &volume)?.holds_a_backup(), "what can't be prepared is kept");
        of_the_next_start(&lab, &volume, Look::AtRows)?;
        volume.remove()?;
    }
    Ok(())
}

/// The first backup is prepared and lacks a table, so it is thrown away for another one. As long as a journal vouches
/// for it, all its files are there.
#[test]
fn a_copy_that_is_thrown_away_has_no_journal() -> Result<()> {
    needs!(BackupTool);
    let lab = Lab::start()?;
    let mut killed = 0;
    for place in [Place::Beside, Place::Inside] {
        for number in [1, 4, 8, 12, 16, 24, 32, 64, 128, 192] {
            let (point, volume) = (Point::at("unlinkat", number), Volume::new(&lab, "volume", place)?);
            let tool = Tool::new(
                &lab,
                &format!(
                    "mkdir $0.once 2>/dev/null && {{ for a; do case $a in --target-dir=*) d=${{a#*=}};; esac; done; \
                     {REAL} \"$@\" || exit; rm $d/app/keyed.ibd; \
                     (cd $d && find . -name '*.ibd' -o -name '*.frm' -o -name '*.MAD') > $0.files; exit 0; }}"
                ),
            )?;
            let is_killed = lab.clone_and_kill_with(&volume, &point, &tool.directory)?;
            let left = at_the_kill(&lab, &volume)?;
            if is_killed && left.holds_a_backup() && tool.directory.join("mariadb-backup.files").exists() {
                let files = std::fs::read_to_string(tool.directory.join("mariadb-backup.files"))?;
                let data = volume.staged_data();
                let missing: Vec<&str> = files.lines().filter(|file| !data.join(file).exists()).collect();
                // The second backup has all of them, and the lost table.
                ensure!(missing.is_empty(), "{place:?}, {point}: a journal speaks for a copy without {missing:?}");
            }
            killed += u32::from(is_killed);
            of_the_next_start(&lab, &volume, Look::AtNames).with_context(|| format!("{place:?}, {point}"))?;
            volume.remove()?;
        }
    }
    ensure!(killed > 8, "killed {killed} times only");
    Ok(())
}

#[test]
fn the_container_is_killed_while_the_tool_works() -> Result<()> {
    needs!(BackupTool);
    let lab = Lab::start()?;
    for point in points_of_the_tool(&lab)? {
        let volume = Volume::new(&lab, "volume", Place::Inside)?;
        kill_both(&lab, &volume, &point)?;
        start_again(&lab, &volume, &point)?;
        volume.remove()?;
    }
    Ok(())
}

/// A tool that continues after its clone was killed would write where the next clone reads.
#[test]
fn a_tool_that_outlives_its_clone_blocks_the_next_one() -> Result<()> {
    needs!(BackupTool);
    let lab = Lab::start()?;
    for place in [Place::Beside, Place::Inside] {
        let volume = Volume::new(&lab, "volume", place)?;
        let tool = Tool::new(&lab, "kill -KILL $PPID; while [ -e $0 ]; do sleep 0.02; done")?;
        let output = lab.clone_with(&volume, &tool.directory)?;
        ensure!(output.status.signal() == Some(Signal::KILL.as_raw()), "ended with {}", output.status);
        let output = lab.clone(&volume)?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(LOCKED), "beside the tool: ended with {}: {error}", output.status);
        ensure!(at_the_kill(&lab, &volume)?.holds_a_backup(), "nothing to go on with");
        drop(tool);
        of_the_next_start(&lab, &volume, Look::AtRows)?;
        volume.remove()?;
    }
    Ok(())
}

#[test]
fn the_power_is_lost_while_the_tool_works() -> Result<()> {
    needs!(BackupTool);
    let lab = Lab::start()?;
    for point in points_of_the_tool(&lab)? {
        let disk = Disk::new(&lab, "disk")?;
        kill_both(&lab, &disk.volume(Place::Beside)?, &point)?;
        let after = disk.lose_power("after")?;
        start_again(&lab, &after.volume(Place::Beside)?, &point)?;
    }
    Ok(())
}

/// Kills the tool, and then its waiting clone before the clone can notice.
fn kill_both(lab: &Lab, volume: &Volume, point: &Point) -> Result<()> {
    let tool = Tool::new(lab, &format!("{}; echo $? >$0.status; kill -KILL $PPID", killing(point)))?;
    let output = lab.clone_with(volume, &tool.directory)?;
    ensure!(output.status.signal() == Some(Signal::KILL.as_raw()), "{point}: ended with {}", output.status);
    let status = std::fs::read_to_string(tool.directory.join("mariadb-backup.status"))?;
    ensure!(status.trim() == "137" || point.may_be_missed(), "the tool {point}: was not reached, ended with {status}");
    Ok(())
}

fn start_again(lab: &Lab, volume: &Volume, point: &Point) -> Result<()> {
    ensure!(at_the_kill(lab, volume)?.holds_a_backup(), "{point}: nothing to go on with");
    of_the_next_start(lab, volume, Look::AtRows).with_context(|| format!("the tool and the clone {point}"))
}

/// The first, a middle and the last call of each kind.
fn points_of_the_tool(lab: &Lab) -> Result<Vec<Point>> {
    let volume = Volume::new(lab, "undisturbed", Place::Beside)?;
    let log = lab.path("trace-of-the-tool");
    let strace = points::listing(&log, CALLS).join(" ");
    let tool = Tool::new(lab, &format!("exec strace {strace} {REAL} \"$@\""))?;
    let output = lab.clone_with(&volume, &tool.directory)?;
    ensure!(output.status.success(), "under strace: {}", String::from_utf8_lossy(&output.stderr));
    volume.remove()?;
    points::few_of_each(&log)
}

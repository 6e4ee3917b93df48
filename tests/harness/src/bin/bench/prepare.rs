//! Prepare of a backup that was taken under heavy writes: with mysqlset's memory, against the tool's default.
//!
//! Ours is a real clone. It finds a whole backup of an interrupted start, and continues from there.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use serde_json::json;

use crate::clone::prepare_by_default;
use crate::disk::{self, settle, warm};
use crate::figures::Figures;
use crate::manifest::Manifest;
use crate::process::run as run_command;
use crate::recipient::{Recipient, Volume};

/// Databases whose files have the same lengths in every copy.
const SAME: &str = "app";

/// More than the memory that the busy backup's log requires.
const MEMORY: usize = 2 << 30;

pub fn measure(backup: &Path, work: &Path, runs: usize, figures: &mut Figures) -> Result<()> {
    for run in 1..=runs {
        let directory = work.join("piped");
        copy(backup, &directory)?;
        touch_memory();
        let default = prepare_by_default(&directory, work)?;
        println!("prepare {run}: default {default:6.2} s");
        let expected = Manifest::of_lengths(&directory.join(SAME))?;
        disk::remove(&directory)?;

        let volume = Volume::new(work)?;
        interrupt(backup, &volume)?;
        touch_memory();
        let mut recipient = Recipient::start(&volume, None)?;
        let received = recipient.wait_until_received()?;
        let ours = (recipient.wait_until_published()? - received).as_secs_f64();
        println!("prepare {run}: ours    {ours:6.2} s");
        Manifest::demand_same(&Manifest::of_lengths(&volume.data_dir().join(SAME))?, &expected)?;
        volume.remove()?;
        figures.peer("prepare.wall", default);
        figures.ours("prepare.wall", ours);
    }
    Ok(())
}

/// Takes as much of the machine's memory as a prepare may use. A virtual machine that returned free memory to its host
/// may get it back slowly, at up to 1.8 s a gigabyte here. Neither side causes that.
fn touch_memory() {
    std::hint::black_box(vec![1_u8; MEMORY]);
}

/// Leaves the state of a clone that was killed before its prepare.
fn interrupt(backup: &Path, volume: &Volume) -> Result<()> {
    std::fs::create_dir(volume.stage())?;
    let journal = json!({"version": 1, "state": "received", "since": 0});
    std::fs::write(volume.stage().join(".mysqlset.json"), journal.to_string())?;
    copy(backup, &volume.staged_data())
}

fn copy(backup: &Path, to: &Path) -> Result<()> {
    run_command(Command::new("cp").arg("--archive").arg(backup).arg(to))?;
    settle()?;
    warm(to)
}

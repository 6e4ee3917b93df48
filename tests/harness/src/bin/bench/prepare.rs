//! Prepare of a backup that was taken under heavy writes: with what we give the tool, against its default.
//!
//! Ours is a real clone that finds a whole backup which an interrupted start has left, and goes on from there.

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

/// More than the log of the busy backup makes us give the tool.
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

/// Has the machine hold as much memory as a prepare may take. A virtual machine that gives free memory back to its host
/// may get it again slowly, at up to 1.8 s a gigabyte here, and that is neither side's doing.
fn touch_memory() {
    std::hint::black_box(vec![1_u8; MEMORY]);
}

/// Leaves what a clone leaves that is killed before it prepares.
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

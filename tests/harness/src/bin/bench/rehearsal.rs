//! The rehearsal of a prepared copy, from the server's start to its end: of a few large tables, and of 20,000 small
//! ones.
//!
//! A real clone finds a prepared copy of an interrupted start. The other figures are measured without a rehearsal.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use mysqlset::model::event::Event;
use serde_json::json;

use crate::data::Database;
use crate::disk::settle;
use crate::figures::Figures;
use crate::process::run as run_command;
use crate::recipient::{Recipient, Volume};

pub fn measure(database: &Database, name: &'static str, work: &Path, runs: usize, figures: &mut Figures) -> Result<()> {
    for run in 1..=runs {
        let volume = Volume::new(work)?;
        interrupt(&database.data_dir, &volume)?;
        let mut recipient = Recipient::rehearse(&volume)?;
        let begun = recipient.wait_for(Event::RehearsalBegun)?;
        let wall = (recipient.wait_for(Event::RehearsalDone)? - begun).as_secs_f64();
        recipient.wait_until_ended()?;
        println!("{name} {run}: {wall:6.2} s");
        volume.remove()?;
        figures.ours(name, wall);
    }
    Ok(())
}

/// Leaves the state of a clone that was killed after its prepare. The files of a stopped server are such a copy.
fn interrupt(data_dir: &Path, volume: &Volume) -> Result<()> {
    std::fs::create_dir(volume.stage())?;
    // A copy from a legacy stream: it has no list of the donor's to compare.
    let clone = json!({"donor": "mysql-0", "donor_pod": "mysql-0", "tool": "", "bytes": 0, "seconds": 0.0, "received_at": 0,
        "position": {"by": "mariadb-gtid", "slave_pos": ""}, "inventory": "legacy-stream"});
    let journal = json!({"version": 1, "state": "prepared", "since": 0, "clone": clone});
    std::fs::write(volume.stage().join(".mysqlset.json"), journal.to_string())?;
    copy(data_dir, &volume.staged_data())
}

/// Copies a stopped server's database to a new place.
pub fn copy(data_dir: &Path, target: &Path) -> Result<()> {
    run_command(Command::new("cp").arg("--archive").arg(data_dir).arg(target))?;
    settle()
}

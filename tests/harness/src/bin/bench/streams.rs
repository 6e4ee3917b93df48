//! A recorded stream through both ends, ours and the pipeline's: *transfer* and *many small files*.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::data::Database;
use crate::disk::{self, settle, warm};
use crate::donor::{self, Donor};
use crate::figures::Figures;
use crate::floor;
use crate::manifest::Manifest;
use crate::pipeline::{self, Serving};
use crate::process::quoted;
use crate::recipient::{Received, Recipient, Volume};

/// The large database's stream, its bare loop included.
pub fn transfer(database: &Database, work: &Path, runs: usize, figures: &mut Figures) -> Result<()> {
    let streams = Streams::start(database, work)?;
    let gigabytes = streams.gigabytes;
    for run in 1..=runs {
        let (piped, received) = streams.pair("transfer", run)?;
        figures.peer("transfer.wall", piped.wall);
        figures.peer("transfer.recipient_cpu", piped.recipient_cpu / gigabytes);
        figures.peer("transfer.donor_relay_cpu", piped.relay_cpu / gigabytes);
        figures.ours("transfer.wall", received.wall);
        figures.ours("transfer.recipient_cpu", received.recipient_cpu / gigabytes);
        figures.ours("transfer.donor_relay_cpu", received.relay_cpu / gigabytes);
        figures.ours("recipient.peak_memory", received.peak_memory);
        streams.prepare()?;
        let floor = floor::run(&database.stream, work)?;
        println!("transfer {run}: floor     {:6.2} s, recipient {:.2} s of CPU", floor.wall, floor.cpu);
        figures.ours("transfer.floor_wall", received.wall);
        figures.peer("transfer.floor_wall", floor.wall);
        figures.ours("transfer.floor_cpu", received.recipient_cpu / gigabytes);
        figures.peer("transfer.floor_cpu", floor.cpu / gigabytes);
    }
    streams.donor.stop()
}

/// The stream of 20,000 tables.
pub fn small_files(database: &Database, work: &Path, runs: usize, figures: &mut Figures) -> Result<()> {
    let streams = Streams::start(database, work)?;
    for run in 1..=runs {
        let (piped, received) = streams.pair("small_files", run)?;
        figures.peer("small_files.wall", piped.wall);
        figures.peer("small_files.recipient_cpu", piped.recipient_cpu / streams.gigabytes);
        figures.ours("small_files.wall", received.wall);
        figures.ours("small_files.recipient_cpu", received.recipient_cpu / streams.gigabytes);
        figures.ours("small_files.peak_memory", received.peak_memory);
    }
    streams.donor.stop()
}

struct Streams<'a> {
    database: &'a Database,
    work: &'a Path,
    /// The directory of the tool's stand-in.
    programs: PathBuf,
    donor: Donor,
    gigabytes: f64,
}

impl<'a> Streams<'a> {
    fn start(database: &'a Database, work: &'a Path) -> Result<Streams<'a>> {
        let programs = donor::stand_in(&database.stream, work)?;
        let donor = Donor::start(database, work, Some(&programs))?;
        let gigabytes = std::fs::metadata(&database.stream)?.len() as f64 / 1e9;
        println!("{} has {gigabytes:.2} GB", quoted(&database.stream));
        Ok(Streams { database, work, programs, donor, gigabytes })
    }

    /// One sample of each side. The first run compares all files.
    fn pair(&self, part: &str, run: usize) -> Result<(pipeline::Piped, Received)> {
        let directory = self.work.join("piped");
        std::fs::create_dir(&directory)?;
        self.prepare()?;
        let piped = pipeline::run(&Serving::Recorded(&self.database.stream), &directory, self.work)?;
        println!(
            "{part} {run}: pipeline  {:6.2} s, recipient {:.2} s of CPU, relay {:.2} s",
            piped.wall, piped.recipient_cpu, piped.relay_cpu
        );
        let expected = (run == 1).then(|| Manifest::of_content(&directory)).transpose()?;
        disk::remove(&directory)?;

        let volume = Volume::new(self.work)?;
        self.prepare()?;
        let mut recipient = Recipient::start(&volume, Some(&self.programs))?;
        let received = recipient.receive(&self.donor)?;
        recipient.kill()?;
        println!(
            "{part} {run}: ours      {:6.2} s, recipient {:.2} s of CPU, relay {:.2} s, memory {:.1} MiB",
            received.wall, received.recipient_cpu, received.relay_cpu, received.peak_memory
        );
        if let Some(expected) = expected {
            Manifest::demand_same(&Manifest::of_content(&volume.staged_data())?, &expected)?;
        }
        volume.remove()?;
        Ok((piped, received))
    }

    fn prepare(&self) -> Result<()> {
        warm(&self.database.stream)?;
        settle()
    }
}

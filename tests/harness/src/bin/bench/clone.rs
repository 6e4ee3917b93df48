//! A clone with the real tool, from an empty pod to a running replica: ours and the tutorial's, the tool alone, and a
//! bare copy of the files.
//!
//! The walls of the copies end after the last sync. Prepare and the replica's start are measured apart.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::copy;
use crate::data::Database;
use crate::disk::{self, settle, warm};
use crate::donor::Donor;
use crate::figures::Figures;
use crate::manifest::Manifest;
use crate::member::{REPLICA, Sidecar};
use crate::pipeline::{self, Serving};
use crate::process::{Process, tail, wait_for};
use crate::recipient::{Recipient, Volume};
use crate::server::{IDLE, Server, backup_arguments, option};

/// Databases whose files are the same in every clone.
const SAME: &str = "app";

/// Tutorial, tool, copy and mysqlset alternate.
pub fn measure(database: &Database, work: &Path, runs: usize, figures: &mut Figures) -> Result<()> {
    let cloning = Cloning {
        database,
        work,
        donor: Donor::start(database, work, None)?,
        gigabytes: std::fs::metadata(&database.stream)?.len() as f64 / 1e9,
    };
    for run in 1..=runs {
        let expected = cloning.tutorial(run, figures)?;
        cloning.tool(run, figures)?;
        cloning.bare_copy(run, figures)?;
        cloning.ours(run, figures, &expected)?;
    }
    cloning.donor.stop()
}

struct Cloning<'a> {
    database: &'a Database,
    work: &'a Path,
    donor: Donor,
    gigabytes: f64,
}

impl Cloning<'_> {
    fn tutorial(&self, run: usize, figures: &mut Figures) -> Result<Manifest> {
        let directory = self.work.join("piped");
        std::fs::create_dir(&directory)?;
        self.prepare()?;
        let piped = pipeline::run(&Serving::Tool(&self.database.data_dir), &directory, self.work)?;
        let manifest = Manifest::of_lengths(&directory.join(SAME))?;
        let prepare = prepare_by_default(&directory, self.work)?;
        let start = self.start_as_the_tutorial(&directory)?;
        disk::remove(&directory)?;
        let cpu = (piped.recipient_cpu + piped.relay_cpu + piped.command_cpu) / self.gigabytes;
        println!(
            "clone {run}: tutorial {:6.2} s, {cpu:.2} s of CPU per GB; prepare {prepare:.2} s, start {start:.2} s",
            piped.wall
        );
        figures.peer("clone.wall_vs_tutorial", piped.wall);
        figures.peer("clone.cpu_per_gb", cpu);
        figures.peer("clone.prepare_wall", prepare);
        figures.peer("clone.start_wall", start);
        Ok(manifest)
    }

    /// The tool alone, which discards its output.
    fn tool(&self, run: usize, figures: &mut Figures) -> Result<()> {
        self.prepare()?;
        let log = self.work.join("tool.log");
        let mut command = Command::new("mariadb-backup");
        command.args(backup_arguments(&self.database.data_dir)).arg("--stream=xbstream");
        command.current_dir(self.work.join("tmp")).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(File::create(&log)?);
        let started = Instant::now();
        Process::start(&mut command)?.finish().with_context(|| tail(&log))?;
        let wall = started.elapsed().as_secs_f64();
        ensure!(tail(&log).contains("completed OK!"), "{}", tail(&log));
        println!("clone {run}: tool     {wall:6.2} s");
        figures.peer("clone.wall_vs_tool", wall);
        Ok(())
    }

    /// A copy of the tables, from disk to disk.
    fn bare_copy(&self, run: usize, figures: &mut Figures) -> Result<()> {
        self.prepare()?;
        let wall = copy::run(&self.database.data_dir, self.work)?;
        println!("clone {run}: copy     {wall:6.2} s");
        figures.peer("clone.wall_vs_copy", wall);
        Ok(())
    }

    fn ours(&self, run: usize, figures: &mut Figures, expected: &Manifest) -> Result<()> {
        let volume = Volume::new(self.work)?;
        self.prepare()?;
        let mut recipient = Recipient::start(&volume, None)?;
        let received = recipient.receive(&self.donor)?;
        let prepare = (recipient.wait_until_published()? - received.at).as_secs_f64();
        Manifest::demand_same(&Manifest::of_lengths(&volume.data_dir().join(SAME))?, expected)?;
        let start = self.start_ours(&volume.data_dir())?;
        volume.remove()?;
        let cpu = (received.recipient_cpu + received.relay_cpu + received.tool_cpu) / self.gigabytes;
        println!(
            "clone {run}: ours     {:6.2} s, {cpu:.2} s of CPU per GB; prepare {prepare:.2} s, start {start:.2} s",
            received.wall
        );
        figures.ours("clone.wall_vs_tutorial", received.wall);
        figures.ours("clone.wall_vs_tool", received.wall);
        figures.ours("clone.wall_vs_copy", received.wall);
        figures.ours("clone.cpu_per_gb", cpu);
        figures.ours("clone.prepare_wall", prepare);
        figures.ours("clone.start_wall", start);
        Ok(())
    }

    fn prepare(&self) -> Result<()> {
        warm(&self.database.data_dir)?;
        settle()
    }

    /// Server and sidecar start together, as a pod's containers do.
    fn start_ours(&self, data_dir: &Path) -> Result<f64> {
        let started = Instant::now();
        let mut sidecar = Sidecar::start(&REPLICA, data_dir, self.work, None)?;
        let server = Server::start(data_dir, self.work, &REPLICA, &IDLE)?;
        sidecar.wait_ready(self.work)?;
        let wall = started.elapsed().as_secs_f64();
        replicates(&server)?.context("the sidecar says that it is ready, but replication doesn't run")?;
        drop(sidecar);
        server.stop()?;
        Ok(wall)
    }

    /// The tutorial's statements, as soon as its server answers (its own script looks once a second).
    fn start_as_the_tutorial(&self, data_dir: &Path) -> Result<f64> {
        let position = std::fs::read_to_string(binlog_info(data_dir)?)?;
        let mut fields = position.split_whitespace();
        let (file, offset) = (fields.next().context("no file")?, fields.next().context("no offset")?);
        let started = Instant::now();
        let server = Server::start(data_dir, self.work, &REPLICA, &IDLE)?;
        server.sql(&format!(
            "CHANGE MASTER TO MASTER_LOG_FILE='{file}', MASTER_LOG_POS={offset}, MASTER_HOST='mysql-0.mysql', \
             MASTER_USER='root', MASTER_PASSWORD='', MASTER_CONNECT_RETRY=10; START SLAVE"
        ))?;
        wait_for("replication to run", || replicates(&server))?;
        let wall = started.elapsed().as_secs_f64();
        server.stop()?;
        Ok(wall)
    }
}

/// Prepare with the tool's own default of memory, in seconds.
pub fn prepare_by_default(directory: &Path, work: &Path) -> Result<f64> {
    let log = work.join("prepare.log");
    let mut command = Command::new("mariadb-backup");
    command.arg("--prepare").arg(option("--target-dir=", directory)).current_dir(work.join("tmp"));
    command.stdin(Stdio::null()).stderr(File::create(&log)?);
    let started = Instant::now();
    Process::start(&mut command)?.finish().with_context(|| tail(&log))?;
    let wall = started.elapsed().as_secs_f64();
    ensure!(tail(&log).contains("completed OK!"), "{}", tail(&log));
    Ok(wall)
}

fn replicates(server: &Server) -> Result<Option<()>> {
    let status = server.sql("SHOW SLAVE STATUS")?;
    let running = status.split('\t').filter(|field| *field == "Yes").count();
    Ok((running == 2).then_some(()))
}

/// The file's name depends on the tool's version.
fn binlog_info(data_dir: &Path) -> Result<PathBuf> {
    let names = ["mariadb_backup_binlog_info", "xtrabackup_binlog_info"].map(|name| data_dir.join(name));
    names.into_iter().find(|path| path.exists()).context("the backup says nothing of the binary log")
}

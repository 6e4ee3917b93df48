//! The measured data: made once, kept under `target/bench`, and made again after a change of the recipe.
//!
//! Each piece has a mark beside it, written last. A piece without its mark is incomplete and is thrown away.

mod busy;
mod large;
mod small;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::disk;
use crate::member::PRIMARY;
use crate::process::{Process, run, tail};
use crate::server::{self, IDLE, Server};

/// Counted up with each change of a recipe.
const RECIPE: u32 = 1;

/// For a server with disposable data: it skips every sync and the doublewrite buffer.
const CARELESS: [&str; 6] = [
    "--innodb-flush-log-at-trx-commit=0",
    "--skip-innodb-doublewrite",
    "--innodb-flush-method=nosync",
    "--debug-no-sync",
    "--skip-sync-frm",
    "--innodb-buffer-pool-size=2G",
];

/// A database at rest and its recorded backup.
pub struct Database {
    pub data_dir: PathBuf,
    /// The backup tool's standard output.
    pub stream: PathBuf,
}

/// The pieces, each made on first use.
pub struct Data {
    directory: PathBuf,
    work: PathBuf,
}

impl Data {
    /// Opens the directory of this recipe, and removes those of other recipes.
    pub fn open(parent: &Path, work: &Path) -> Result<Data> {
        let directory = parent.join(format!("data-{RECIPE}"));
        std::fs::create_dir_all(&directory)?;
        for entry in std::fs::read_dir(parent)? {
            let path = entry?.path();
            let is_data = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("data-"));
            if is_data && path != directory {
                disk::remove(&path)?;
            }
        }
        Ok(Data { directory, work: work.to_owned() })
    }

    /// More than 2 GB in a few tables.
    pub fn large(&self) -> Result<Database> {
        self.database("large", large::fill, None)
    }

    /// 20,000 tables of 100 KB.
    pub fn small(&self) -> Result<Database> {
        self.database("small", small::fill, Some(small::DATABASE))
    }

    /// A backup that was taken while clients wrote to the large database, not prepared.
    pub fn busy(&self) -> Result<PathBuf> {
        let large = self.large()?;
        let directory = self.made("busy", |directory| busy::make(&large, directory, &self.work))?;
        Ok(directory.join("backup"))
    }

    fn database(&self, name: &str, fill: fn(&Server) -> Result<()>, packed: Option<&str>) -> Result<Database> {
        let directory = self.made(name, |directory| self.make_database(directory, fill, packed))?;
        Ok(Database { data_dir: directory.join("mysql"), stream: directory.join("backup.xbstream") })
    }

    fn make_database(&self, directory: &Path, fill: fn(&Server) -> Result<()>, packed: Option<&str>) -> Result<()> {
        let data_dir = directory.join("mysql");
        server::install(&data_dir)?;
        let server = Server::start(&data_dir, &self.work, &PRIMARY, &CARELESS)?;
        fill(&server)?;
        // Replication needs an event: the tables themselves were made without the binary log.
        server.sql("CREATE DATABASE followed; CREATE TABLE followed.t (id INT PRIMARY KEY)")?;
        server.stop()?;
        let server = Server::start(&data_dir, &self.work, &PRIMARY, &IDLE)?;
        record(&data_dir, &directory.join("backup.xbstream"), &self.work, packed)?;
        server.stop()
    }

    /// A piece's directory, with the piece in it.
    fn made(&self, name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let (directory, mark) = (self.directory.join(name), self.directory.join(format!("{name}.made")));
        if !mark.exists() {
            println!("making the data {name:?}, once");
            let started = Instant::now();
            disk::remove(&directory)?;
            std::fs::create_dir_all(&directory)?;
            make(&directory).with_context(|| format!("making the data {name:?}"))?;
            run(&mut Command::new("sync"))?;
            std::fs::write(&mark, "")?;
            println!("made in {:.0} s", started.elapsed().as_secs_f64());
        }
        Ok(directory)
    }
}

/// Runs clients of one server side by side to their ends.
fn run_all(server: &Server, statements: &[String]) -> Result<()> {
    let start = |statements: &String| Process::start(server.client(statements).stdin(Stdio::null()));
    let mut clients: Vec<Process> = statements.iter().map(start).collect::<Result<_>>()?;
    clients.iter_mut().try_for_each(Process::finish)
}

/// The backup tool's stream, into a file. `mbstream` may pack one database's files before it: the tool opens all tables
/// at once, which the machine may forbid. These files are idle, so the result is the same.
fn record(data_dir: &Path, stream: &Path, work: &Path, packed: Option<&str>) -> Result<()> {
    let output = std::fs::File::create(stream)?;
    let log = work.join("record.log");
    let mut command = Command::new("mariadb-backup");
    command.args(server::backup_arguments(data_dir)).arg("--stream=xbstream").current_dir(work.join("tmp"));
    if let Some(database) = packed {
        pack(data_dir, database, &output)?;
        command.arg(format!("--databases-exclude={database}"));
    }
    command.stdout(output).stderr(std::fs::File::create(&log)?);
    Process::start(&mut command)?.finish().with_context(|| tail(&log))?;
    ensure!(tail(&log).contains("completed OK!"), "{}", tail(&log));
    Ok(())
}

fn pack(data_dir: &Path, database: &str, output: &std::fs::File) -> Result<()> {
    let mut names: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(data_dir.join(database))? {
        names.push(Path::new(database).join(entry?.file_name()));
    }
    names.sort();
    let mut command = Command::new("mbstream");
    command.arg("-c").args(names).current_dir(data_dir).stdout(output.try_clone()?);
    Process::start(&mut command)?.finish()
}

//! A backup under heavy writes: much redo log, for pages that changed after their copy.
//!
//! A signal stops the tool while it copies the last table. The writers run until they have filled enough of the log,
//! and the tool continues. So the log's size is independent of the speed of disk and processors.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{ChildStderr, Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use super::{CARELESS, Database, large};
use crate::member::PRIMARY;
use crate::process::{self, Process, run, tail};
use crate::server::{self, Server};

/// Bytes of redo log between the tool's stop and its continuation.
const WRITTEN: u64 = 640 << 20;

/// The least redo log in the backup.
const LEAST_REDO: u64 = 500_000_000;

/// Tables of the large database, which the tool names in its log one by one.
const TABLES: usize = 4;

pub fn make(large: &Database, directory: &Path, work: &Path) -> Result<()> {
    let (copied, backup) = (work.join("busy"), directory.join("backup"));
    run(Command::new("cp").arg("--archive").arg(&large.data_dir).arg(&copied))?;
    // Room for the whole log: otherwise the server would overwrite a part that the stopped tool has still to read.
    let options = [&CARELESS[..], &["--innodb-log-file-size=4G"]].concat();
    let server = Server::start(&copied, work, &PRIMARY, &options)?;
    let mut command = Command::new("mariadb-backup");
    command.args(server::backup_arguments(&copied)).arg(server::option("--target-dir=", &backup));
    let mut tool = Process::start(command.current_dir(work).stdin(Stdio::null()).stderr(Stdio::piped()))?;
    let mut lines = BufReader::new(tool.child().stderr.take().context("the tool's log")?);
    read_to_the_last_table(&mut lines)?;
    tool.signal(Signal::STOP)?;
    let writers = write_much(&server)?;
    tool.signal(Signal::CONT)?;
    let log = work.join("busy.log");
    std::io::copy(&mut lines, &mut std::fs::File::create(&log)?)?;
    tool.finish().with_context(|| tail(&log))?;
    ensure!(tail(&log).contains("completed OK!"), "{}", tail(&log));
    drop((writers, server));
    crate::disk::remove(&copied)?;
    let redo = std::fs::metadata(backup.join("ib_logfile0"))?.len();
    println!("{:.2} GB of redo log", redo as f64 / 1e9);
    ensure!(redo >= LEAST_REDO, "the backup has {redo} bytes of redo log only");
    Ok(())
}

fn read_to_the_last_table(lines: &mut BufReader<ChildStderr>) -> Result<()> {
    let mut tables = 0;
    let mut all = String::new();
    for line in lines.lines() {
        let line = line?;
        tables += usize::from(line.contains("Copying ./app/") && line.contains(".ibd"));
        if tables == TABLES {
            return Ok(());
        }
        all += &line;
        all.push('\n');
    }
    anyhow::bail!("the tool ended before the last table: {all}")
}

/// Returns once the writers have written enough; they continue.
fn write_much(server: &Server) -> Result<Vec<Process>> {
    const LSN: &str =
        "SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'innodb_lsn_current'";
    let began = server.number(LSN)?;
    let start = |statements: &String| Process::start(server.client(statements).stdin(Stdio::null()));
    let mut writers: Vec<Process> = [write(1), write(2)].iter().map(start).collect::<Result<_>>()?;
    process::wait_for("the writers", || {
        for writer in &mut writers {
            ensure!(writer.ended()?.is_none(), "a writer ended");
        }
        Ok((server.number(LSN)? > began + WRITTEN).then_some(()))
    })?;
    Ok(writers)
}

/// Changes scattered rows, without end.
fn write(documents: u32) -> String {
    let (documents_rows, orders_rows) = (large::DOCUMENTS, large::ORDERS);
    format!(
        "DELIMITER //\nBEGIN NOT ATOMIC DECLARE spot INT; WHILE TRUE DO \
         SET spot = FLOOR(RAND() * {documents_rows}); \
         UPDATE app.documents_{documents} SET body = RANDOM_BYTES(1000) WHERE id BETWEEN spot AND spot + 3; \
         SET spot = FLOOR(RAND() * {orders_rows}); \
         UPDATE app.orders SET customer = FLOOR(RAND() * 100000), amount = amount + 1 WHERE id = spot; \
         END WHILE; END //\n"
    )
}

//! Our recipient: `mysqlset clone` on an empty volume, observed through its log.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use mysqlset::model::event::Event;
use serde_json::Value;

use crate::disk;
use crate::donor::Donor;
use crate::member::{REPLICA, prefer};
use crate::process::{self, PATIENCE, Process, peak_memory, usage};
use crate::server::option;

/// Its event after everything was received, synced and recorded.
const RECEIVED: Event = Event::PrepareBegun;

/// A pod's volume. It contains the data directory, and a clone is received next to that.
pub struct Volume(PathBuf);

/// A clone that runs.
pub struct Recipient {
    process: Process,
    lines: Receiver<(Instant, String)>,
    started: Instant,
    said: Vec<String>,
}

/// The cost of a transfer.
pub struct Received {
    /// From the recipient's start to the sync of the last byte.
    pub wall: f64,
    pub recipient_cpu: f64,
    /// MiB.
    pub peak_memory: f64,
    pub relay_cpu: f64,
    pub tool_cpu: f64,
    /// The moment of its end.
    pub at: Instant,
}

impl Volume {
    /// An empty one.
    pub fn new(work: &Path) -> Result<Volume> {
        let volume = Volume(work.join("volume"));
        volume.remove()?;
        std::fs::create_dir(&volume.0)?;
        Ok(volume)
    }

    pub fn data_dir(&self) -> PathBuf {
        self.0.join("mysql")
    }

    /// The clone's directory until it is published, with its journal beside its data.
    pub fn stage(&self) -> PathBuf {
        self.0.join(".mysqlset-mysql-stage")
    }

    pub fn staged_data(&self) -> PathBuf {
        self.stage().join("data")
    }

    pub fn remove(&self) -> Result<()> {
        disk::remove(&self.0)
    }
}

impl Recipient {
    /// Without a rehearsal, which has its own measure.
    pub fn start(volume: &Volume, programs: Option<&Path>) -> Result<Recipient> {
        Recipient::start_with(volume, programs, "off")
    }

    /// With a rehearsal of the staged copy.
    pub fn rehearse(volume: &Volume) -> Result<Recipient> {
        Recipient::start_with(volume, None, "auto")
    }

    fn start_with(volume: &Volume, programs: Option<&Path>, rehearsal: &str) -> Result<Recipient> {
        let mut command = Command::new(harness::program());
        command
            .args([
                "clone",
                "--hostname",
                REPLICA.name,
                "--owner",
                "0:0",
                "--log-format",
                "json",
                "--rehearsal",
                rehearsal,
            ])
            .arg(option("--data-dir=", &volume.data_dir()))
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        prefer(&mut command, programs)?;
        let started = Instant::now();
        let mut process = Process::start(&mut command)?;
        let log = process.child().stderr.take().context("the clone's log")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || read(log, &sender));
        Ok(Recipient { process, lines, started, said: Vec::new() })
    }

    /// Follows a transfer to its end.
    pub fn receive(&mut self, donor: &Donor) -> Result<Received> {
        // So far the donor's work for this recipient is negligible.
        let before = donor.usage()?;
        let at = self.wait_for(RECEIVED)?;
        let (own, peak_memory) = (usage(self.process.pid())?, peak_memory(self.process.pid())?);
        let after = donor.usage()?;
        Ok(Received {
            wall: (at - self.started).as_secs_f64(),
            recipient_cpu: own.own,
            peak_memory,
            relay_cpu: after.own - before.own,
            tool_cpu: after.children - before.children,
            at,
        })
    }

    /// The moment when its prepare began.
    pub fn wait_until_received(&mut self) -> Result<Instant> {
        self.wait_for(RECEIVED)
    }

    /// Waits for its end, which must be a published clone. Returns the end of prepare: the tool's own last line counts
    /// where the clone reports no end.
    pub fn wait_until_published(&mut self) -> Result<Instant> {
        let (mut prepared, mut completed) = (None, None);
        while let Some((at, line)) = self.next()? {
            let is_last_word = || line["message"].as_str().is_some_and(|message| message.ends_with("completed OK!"));
            match line["event"].as_str() {
                Some(event) if event == Event::PrepareDone.name() => prepared = Some(at),
                _ if is_last_word() => completed = Some(at),
                _ => {}
            }
        }
        self.process.finish().with_context(|| self.last_words())?;
        prepared.or(completed).context("the log has no end of prepare")
    }

    /// Kills it and its tool.
    pub fn kill(self) -> Result<()> {
        drop(self.process);
        process::sweep()
    }

    /// Waits for its end, which must be a success.
    pub fn wait_until_ended(&mut self) -> Result<()> {
        while self.next()?.is_some() {}
        self.process.finish().with_context(|| self.last_words())
    }

    pub fn wait_for(&mut self, awaited: Event) -> Result<Instant> {
        while let Some((at, line)) = self.next()? {
            if line["event"] == awaited.name() {
                return Ok(at);
            }
        }
        bail!("the clone ended without {awaited}:\n{}", self.last_words())
    }

    /// The next line and its time; `None` after the last one.
    fn next(&mut self) -> Result<Option<(Instant, Value)>> {
        let (at, line) = match self.lines.recv_timeout(PATIENCE) {
            Ok(next) => next,
            Err(RecvTimeoutError::Timeout) => bail!("the clone says nothing for {} seconds", PATIENCE.as_secs()),
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
        };
        let fields = serde_json::from_str(&line).unwrap_or_default();
        self.said.push(line);
        Ok(Some((at, fields)))
    }

    fn last_words(&self) -> String {
        self.said[self.said.len().saturating_sub(10)..].join("\n")
    }
}

fn read(log: ChildStderr, lines: &Sender<(Instant, String)>) {
    for line in BufReader::new(log).lines().map_while(Result::ok) {
        if lines.send((Instant::now(), line)).is_err() {
            return;
        }
    }
}

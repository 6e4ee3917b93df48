//! A private server that runs.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::words;
use crate::model::exit::Reason;
use crate::server::Server;
use crate::sys::child::{Ended, Running};
use crate::sys::disk::disk_error;
use crate::sys::durable;

/// Between two tries to reach a server that is starting.
pub(super) const PERIOD: Duration = Duration::from_millis(50);

/// How long a server may take to stop, which flushes what little it has.
const TIME_TO_STOP: Duration = Duration::from_secs(120);

/// A connection may break this long before its server's end can be seen.
pub const TIME_TO_DIE: Duration = Duration::from_secs(10);

/// A private server. Dropped, it is killed.
pub struct OwnServer {
    pub(super) running: Running,
    /// Its directory, with its socket.
    pub(super) run: PathBuf,
    pub(super) blame: Reason,
    pub server: Server,
}

/// How a private server ended.
pub struct End {
    pub words: String,
    pub reason: Reason,
}

impl OwnServer {
    /// How it ended, where it has.
    pub fn end(mut self) -> Option<End> {
        if !self.running.has_ended().ok()? {
            return None;
        }
        let ended = self.running.wait().ok()?;
        Some(End { words: words::of(&ended), reason: words::reason_of(&ended, self.blame) })
    }

    /// How it ends within a moment, where it does: a connection breaks before the process is gone.
    pub async fn end_within(mut self, limit: Duration) -> Option<End> {
        let deadline = Instant::now() + limit;
        while !self.running.has_ended().ok()? {
            if Instant::now() >= deadline {
                return None;
            }
            tokio::time::sleep(PERIOD).await;
        }
        self.end()
    }

    /// What an error in a talk with it comes from: its own end, where it has come to one, else what it is blamed for.
    pub async fn explain(self, error: anyhow::Error) -> anyhow::Error {
        let blame = self.blame;
        match self.end_within(TIME_TO_DIE).await {
            Some(end) => end.reason.error(format!("{error:#}: the private server {}", end.words)),
            None => blame.because(error),
        }
    }

    /// Another connection.
    pub async fn connect(&self) -> Result<Server> {
        Server::connect_to_own(&socket_in(&self.run)).await
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.running.id()
    }

    /// Has it stop as it should, which leaves nothing to be recovered.
    pub async fn stop(self) -> Result<()> {
        let OwnServer { running, run, blame, mut server } = self;
        let deadline = Instant::now() + TIME_TO_STOP;
        match tokio::time::timeout(TIME_TO_STOP, server.shut_down()).await {
            Ok(told) => told?,
            Err(_) => return Err(blame.error(never(&run))),
        }
        let ended = running.wait_while(|| Instant::now() < deadline)?;
        if Instant::now() >= deadline && !ended.status.success() {
            return Err(blame.error(never(&run)));
        }
        if !ended.status.success() {
            return Err(words::reason_of(&ended, blame)
                .error(format!("a private server did not stop well: it {}", words::of(&ended))));
        }
        remove(&run)
    }
}

fn never(run: &Path) -> String {
    let seconds = TIME_TO_STOP.as_secs();
    format!("a private server in {} did not stop within {seconds} seconds, and was killed", run.display())
}

pub(super) fn socket_in(run: &Path) -> PathBuf {
    run.join("sock")
}

/// What a start that failed, or the server itself, ended with.
pub(super) fn failure(what: &str, ended: &Ended, blame: Reason) -> anyhow::Error {
    words::reason_of(ended, blame).error(format!("{what} {}", words::of(ended)))
}

/// Removes a private server's directory, where there is one.
pub(super) fn remove(run: &Path) -> Result<()> {
    let gone = match std::fs::remove_dir_all(run) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => durable::sync_directory(run.parent().unwrap_or(run)),
    };
    gone.map_err(|error| disk_error(error, format!("removing {}", run.display())))
}

//! Writes that outlive the primary's server: a client that loses its connection connects again.

use std::io::Write;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::crowd::Crowd;
use crate::pods::Cluster;
use crate::set::INNODB_TABLES;

const PAUSE: Duration = Duration::from_millis(4);

/// Writes rows into tables with and without a key, and changes one of many tables in rotation, until it is finished or
/// dropped.
pub struct Load<'scope> {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    thread: Option<ScopedJoinHandle<'scope, ()>>,
}

impl<'scope> Load<'scope> {
    pub fn start(scope: &'scope Scope<'scope, '_>, cluster: &'scope Cluster, crowd: Crowd) -> Load<'scope> {
        let (stop, written) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (stopping, counting) = (stop.clone(), written.clone());
        let thread = scope.spawn(move || {
            while !stopping.load(Ordering::Acquire) {
                // The next connection continues.
                let _ = write(cluster, crowd, &stopping, &counting);
                std::thread::sleep(PAUSE);
            }
        });
        Load { stop, written, thread: Some(thread) }
    }

    /// Waits for the last row.
    pub fn finish(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Release);
        let ended = self.thread.take().map(ScopedJoinHandle::join);
        ensure!(matches!(ended, Some(Ok(()))), "the load panicked");
        ensure!(self.written.load(Ordering::Relaxed) > 0, "nothing was written meanwhile");
        Ok(())
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// Through one client, which ends at the first error.
fn write(cluster: &Cluster, crowd: Crowd, stop: &AtomicBool, written: &AtomicU64) -> Result<()> {
    let address = cluster.address("mysql-0")?.to_string();
    let mut command = cluster.command("mariadb");
    command.args(["--no-defaults", "--connect-timeout=5", "-u", "root", "-h", &address]);
    let mut client = Client(command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
    let mut input = client.0.stdin.take().context("the client's input")?;
    while !stop.load(Ordering::Acquire) {
        for table in INNODB_TABLES {
            let number = written.fetch_add(1, Ordering::Relaxed);
            writeln!(input, "INSERT INTO {table} (n, text) VALUES ({number}, UUID());")?;
        }
        if let Some(change) = crowd.change(written.load(Ordering::Relaxed) / INNODB_TABLES.len() as u64) {
            writeln!(input, "{change}")?;
        }
        std::thread::sleep(PAUSE);
    }
    drop(input);
    client.0.wait()?;
    Ok(())
}

struct Client(Child);

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

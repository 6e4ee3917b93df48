//! A client that writes to the primary during a change of the set.

use std::io::Write;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::pods::Cluster;
use crate::set::tables;

/// Between two rows of each table, so that a replica on a busy machine can follow. A slow condition multiplies it.
const BETWEEN_ROWS: Duration = Duration::from_millis(20);

/// Writes rows into tables of the primary, one transaction each, until it is stopped.
pub struct Writer {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<()>>>,
    client: Arc<Mutex<Child>>,
}

impl Writer {
    /// Into tables of every kind.
    pub fn start(cluster: &Cluster) -> Result<Writer> {
        Writer::start_in(tables(), cluster)
    }

    pub fn start_in(tables: &'static [&'static str], cluster: &Cluster) -> Result<Writer> {
        let mut command = cluster.client_of_root("mysql-0")?;
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        let mut client = command.spawn()?;
        let mut input = client.stdin.take().context("the client's input")?;
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopping, counting) = (stop.clone(), written.clone());
        let pause = BETWEEN_ROWS * cluster.shared.surroundings.patience;
        let thread = std::thread::spawn(move || {
            while !stopping.load(Ordering::Acquire) {
                for table in tables {
                    let number = counting.fetch_add(1, Ordering::Relaxed);
                    writeln!(input, "INSERT INTO {table} (n, text) VALUES ({number}, UUID());")
                        .context("the primary is gone")?;
                }
                input.flush()?;
                std::thread::sleep(pause);
            }
            Ok(())
        });
        Ok(Writer { stop, written, thread: Some(thread), client: Arc::new(Mutex::new(client)) })
    }

    /// The rows so far.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Stops writing, waits for the last row, and returns their number.
    pub fn finish(mut self) -> Result<u64> {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
        }
        let status = self.client.lock().expect("client").wait()?;
        ensure!(status.success(), "a write failed: the client ended with {status}");
        Ok(self.written.load(Ordering::Relaxed))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if self.thread.is_some() {
            let _ = self.client.lock().expect("client").kill();
        }
    }
}

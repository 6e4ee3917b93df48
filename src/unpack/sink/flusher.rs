//! Syncs written data early, in the background: the page cache and the disk's own cache. Otherwise the sync at
//! the end would take all that time.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use super::fault::Fault;

/// The number of written bytes after which a sync starts.
const EVERY: u64 = 256 << 20;

/// A thread that syncs a file system after enough writes.
pub struct Flusher {
    written: AtomicU64,
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Flusher {
    /// Starts it for the file system of `directory`, which is called `path`.
    pub fn start(directory: File, path: PathBuf, fault: Arc<Fault>) -> io::Result<Flusher> {
        let (wake, woken) = sync_channel(1);
        let thread = Builder::new().name("flusher".into()).spawn(move || {
            while let Ok(()) = woken.recv() {
                // The kernel reports an error once, so the sync at the end would miss it.
                if let Err(error) = rustix::fs::syncfs(&directory) {
                    fault.note(path.clone(), error.into());
                }
            }
        })?;
        Ok(Flusher { written: AtomicU64::new(0), wake: Some(wake), thread: Some(thread) })
    }

    /// Counts written bytes.
    pub fn written(&self, bytes: u64) {
        let before = self.written.fetch_add(bytes, Ordering::Relaxed);
        if before / EVERY < (before + bytes) / EVERY
            && let Some(wake) = &self.wake
        {
            // A running sync is followed by the next one.
            let _ = wake.try_send(());
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        drop(self.wake.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

//! Syncs early what was written, in the background: what lies in the page cache, and what the disk keeps in a cache of
//! its own. Else all of it would be waited for at the end.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use super::fault::Fault;

/// Bytes after which there is something to sync.
const EVERY: u64 = 256 << 20;

/// A thread that syncs a file system when it is told that enough was written.
pub struct Flusher {
    written: AtomicU64,
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Flusher {
    /// For the file system that holds `directory`, which is called `path`.
    pub fn start(directory: File, path: PathBuf, fault: Arc<Fault>) -> io::Result<Flusher> {
        let (wake, woken) = sync_channel(1);
        let thread = Builder::new().name("flusher".into()).spawn(move || {
            while let Ok(()) = woken.recv() {
                // The kernel tells an error once; whoever syncs next would not hear of it.
                if let Err(error) = rustix::fs::syncfs(&directory) {
                    fault.note(path.clone(), error.into());
                }
            }
        })?;
        Ok(Flusher { written: AtomicU64::new(0), wake: Some(wake), thread: Some(thread) })
    }

    /// Takes note of bytes written.
    pub fn written(&self, bytes: u64) {
        let before = self.written.fetch_add(bytes, Ordering::Relaxed);
        if before / EVERY < (before + bytes) / EVERY
            && let Some(wake) = &self.wake
        {
            // It may still be at it; then it goes on right afterwards.
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

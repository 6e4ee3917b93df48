//! What the sidecar knows of its pod right now: one snapshot. The watch over the server writes it, and everyone reads it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::snapshot::Snapshot;
use crate::datadir::journal::now;
use crate::model::ordinal::Role;

/// The shared snapshot.
pub struct Status {
    snapshot: RwLock<Snapshot>,
    /// Clones start only after this time.
    held: Mutex<Option<Instant>>,
    /// Whether the pod was ready at any time since the sidecar's start.
    was_ready: AtomicBool,
}

impl Status {
    pub fn new(pod: String, role: Role) -> Status {
        let snapshot = RwLock::new(Snapshot::new(pod, role));
        Status { snapshot, held: Mutex::new(None), was_ready: AtomicBool::new(false) }
    }

    /// A copy of the snapshot.
    pub fn get(&self) -> Snapshot {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records whether a clone is being served. This leaves the age of the snapshot unchanged.
    pub fn donates(&self, donating: bool) {
        let mut snapshot = self.snapshot.write().unwrap_or_else(PoisonError::into_inner);
        (snapshot.donating, snapshot.donating_since) = (donating, donating.then(now));
    }

    /// Delays new clones for this time, because the server is about to stop.
    pub fn hold(&self, time: Duration) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + time);
    }

    /// Whether new clones are delayed.
    pub fn is_held(&self) -> bool {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| Instant::now() < until)
    }

    /// Changes the snapshot and marks it as fresh.
    pub fn update(&self, change: impl FnOnce(&mut Snapshot)) {
        let mut snapshot = self.snapshot.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut snapshot);
        snapshot.observed = Some(Instant::now());
        if snapshot.ready().is_ok() {
            self.was_ready.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the pod was ready at any time since the sidecar's start.
    pub fn was_ready(&self) -> bool {
        self.was_ready.load(Ordering::Relaxed)
    }
}

//! Ends the process after SIGTERM: kills the children, then waits briefly for work that still records its end in
//! the journal.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::sys::child;

/// How long such a record may take: a finished prepare is synced first, then the journal is written and synced.
const MOMENT: Duration = Duration::from_secs(3);

const PERIOD: Duration = Duration::from_millis(5);

static NOTING: Mutex<()> = Mutex::new(());

/// Held by work from the journal entry of its start to that of its end.
pub struct Noted(Option<MutexGuard<'static, ()>>);

impl Noted {
    /// For work before its start.
    pub fn not_yet() -> Noted {
        Noted(None)
    }

    /// Starts the work. Fails if this process is about to end.
    pub fn begin(&mut self) -> Result<()> {
        if self.0.is_none() {
            self.0 = Some(NOTING.lock().unwrap_or_else(PoisonError::into_inner));
        }
        if child::are_ended() {
            bail!("mysqlset is shutting down");
        }
        Ok(())
    }
}

/// Kills all children, waits for the record of running work, and keeps other work from starting.
pub async fn end_all() {
    child::kill_all();
    let deadline = Instant::now() + MOMENT;
    while Instant::now() < deadline {
        match NOTING.try_lock() {
            Err(TryLockError::WouldBlock) => tokio::time::sleep(PERIOD).await,
            free => return std::mem::forget(free),
        }
    }
}

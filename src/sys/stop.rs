//! The end that we were told to come to, by SIGTERM: children are killed, and who has to note in the journal that it was us
//! gets a moment for that.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::sys::child;

/// How long a note may take: the journal is written and synced, and a prepare that has just ended is synced before.
const MOMENT: Duration = Duration::from_secs(3);

const PERIOD: Duration = Duration::from_millis(5);

static NOTING: Mutex<()> = Mutex::new(());

/// Held by work whose end has to be noted, from the note of its beginning on.
pub struct Noted(Option<MutexGuard<'static, ()>>);

impl Noted {
    /// Of work that has not begun.
    pub fn not_yet() -> Noted {
        Noted(None)
    }

    /// It begins; an error where we are about to end.
    pub fn begin(&mut self) -> Result<()> {
        if self.0.is_none() {
            self.0 = Some(NOTING.lock().unwrap_or_else(PoisonError::into_inner));
        }
        if child::are_ended() {
            bail!("told to stop");
        }
        Ok(())
    }
}

/// Kills all children, waits for the note of what they did, and has no other work begin.
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

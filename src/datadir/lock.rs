//! Ensures one worker at a time, with a lock that also stops a second start while the backup tool of a killed
//! `mysqlset` lives.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::{Errno, FdFlags, fcntl_setfd};

use crate::model::event::{info, warn};
use crate::model::exit::Reason;
use crate::sys::disk::disk_error;
use crate::sys::held_directory::Directory;

/// How long a killed start's children may take to end. A private server ends with its parent, but first has to give
/// back its memory.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two attempts.
const PERIOD: Duration = Duration::from_millis(50);

/// Held as long as the value, and as long as any child that was started meanwhile. The descriptor stays open in
/// children on purpose: a tool that outlives its killed parent still blocks the next start.
pub struct Lock {
    _directory: OwnedFd,
}

impl Lock {
    /// Locks the directory that holds all work on a data directory. Waits briefly for children of a killed start.
    pub fn take(directory: &(impl Directory + ?Sized)) -> Result<Lock> {
        Lock::take_within(PATIENCE, directory)
    }

    fn take_within(patience: Duration, directory: &(impl Directory + ?Sized)) -> Result<Lock> {
        let opening = |error| disk_error(error, format!("opening {}", directory.named().display()));
        let held = directory.spot().map_err(opening)?;
        let file = held.open(OFlags::RDONLY | OFlags::DIRECTORY).map_err(opening)?;
        let (begun, mut told) = (Instant::now(), false);
        let mut locked = flock(&file, FlockOperation::NonBlockingLockExclusive);
        while locked == Err(Errno::WOULDBLOCK) && begun.elapsed() < patience {
            if !std::mem::replace(&mut told, true) {
                info!(LockWaits, directory = %held, "locked by another start, or by children of a killed one: waiting");
            }
            std::thread::sleep(PERIOD);
            locked = flock(&file, FlockOperation::NonBlockingLockExclusive);
        }
        match locked {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(Reason::Locked.error(format!(
                    "{held} is in use by another mysqlset, or by a backup tool that it started: wait for it or stop it"
                )));
            }
            Err(error) => {
                warn!(LocksMissing, directory = %held, %error, "this file system has no locks: continuing without one")
            }
        }
        fcntl_setfd(&file, FdFlags::empty()).map_err(|error| disk_error(error.into(), format!("locking {held}")))?;
        Ok(Lock { _directory: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::exit::reason_of;

    #[test]
    fn a_second_worker_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let lock = Lock::take(directory.path()).unwrap();
        assert_eq!(reason_of(&at_once(directory.path()).err().unwrap()), Some(Reason::Locked));
        drop(lock);
        take_when_free(directory.path());
    }

    #[test]
    fn a_child_that_outlives_its_parent_keeps_the_lock() {
        let directory = tempfile::tempdir().unwrap();
        let lock = Lock::take(directory.path()).unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        drop(lock);
        assert!(at_once(directory.path()).is_err());
        child.kill().unwrap();
        child.wait().unwrap();
        take_when_free(directory.path());
    }

    #[test]
    fn waits_for_a_child_that_is_about_to_end() {
        let directory = tempfile::tempdir().unwrap();
        let lock = Lock::take(directory.path()).unwrap();
        let mut child = std::process::Command::new("sleep").arg("0.5").spawn().unwrap();
        drop(lock);
        assert!(at_once(directory.path()).is_err());
        assert!(Lock::take(directory.path()).is_ok());
        child.wait().unwrap();
    }

    fn at_once(directory: &std::path::Path) -> Result<Lock> {
        Lock::take_within(Duration::ZERO, directory)
    }

    /// A child that another test started just now holds the lock too, until it ends.
    fn take_when_free(directory: &std::path::Path) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while let Err(error) = Lock::take(directory) {
            assert!(std::time::Instant::now() < deadline, "{error:#}");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

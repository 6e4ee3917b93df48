//! The first fault of any writing thread.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::unpack::error::UnpackError;

/// The first fault of any thread.
#[derive(Default)]
pub struct Fault {
    happened: AtomicBool,
    first: Mutex<Option<(PathBuf, io::Error)>>,
}

impl Fault {
    pub fn note(&self, path: PathBuf, error: io::Error) {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert((path, error));
        self.happened.store(true, Ordering::Release);
    }

    pub fn has_happened(&self) -> bool {
        self.happened.load(Ordering::Acquire)
    }

    pub fn check(&self) -> Result<(), UnpackError> {
        if !self.has_happened() {
            return Ok(());
        }
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (path, source) = first.unwrap_or_else(|| (PathBuf::new(), io::Error::other("an earlier write failed")));
        Err(UnpackError::Output { path, source })
    }
}

//! What all files of a sink share: buffers, the threads that write, and the room that is left.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use super::buffer::{Buffer, Pool};
use super::fault::Fault;
use super::flusher::Flusher;
use super::room::Room;
use super::writer::{self, Writer};
use crate::unpack::error::UnpackError;

/// How files are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Writing {
    /// Past the page cache where the file system takes it.
    #[default]
    Direct,
    /// Through the page cache.
    Cached,
}

/// What all files of a sink share: the memory, and the threads, which are started when there is something for them.
pub struct Output {
    pub pool: Pool,
    pub writer: Option<Writer>,
    pub writing: Writing,
    pub room: Room,
    pub directory: OwnedFd,
    pub path: PathBuf,
}

impl Output {
    /// Bytes are about to be written.
    pub fn take_room(&mut self, bytes: usize) -> Result<(), UnpackError> {
        self.room.write((&self.directory, &self.path), bytes as u64)
    }

    /// A hole is left in a file.
    pub fn leave_hole(&mut self, bytes: u64) -> Result<(), UnpackError> {
        self.room.leave((&self.directory, &self.path), bytes)
    }

    pub fn writer(&mut self) -> Result<&Writer, UnpackError> {
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => {
                let started = self.start();
                started.map_err(|source| UnpackError::Output { path: self.path.clone(), source })?
            }
        };
        Ok(self.writer.insert(writer))
    }

    /// A buffer to fill.
    pub fn buffer(&mut self) -> Result<Buffer, UnpackError> {
        self.pool.take().ok_or_else(|| UnpackError::Output { path: self.path.clone(), source: writer::gone() })
    }

    fn start(&mut self) -> std::io::Result<Writer> {
        let fault = Arc::<Fault>::default();
        let flusher = Flusher::start(File::from(self.directory.try_clone()?), self.path.clone(), fault.clone())?;
        Writer::start(self.pool.return_address(), flusher, fault, self.writing == Writing::Direct)
    }
}

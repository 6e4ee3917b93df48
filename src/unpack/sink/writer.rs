//! The thread that writes, so that the next bytes are received meanwhile.
//!
//! Large files are written past the page cache (O_DIRECT) where the file system takes that: filling the cache was the
//! dearest part of receiving a backup, and what is in it has to be written all the same before it counts. Small
//! files, and the odd ends of large ones, go through the cache, where many of them become few writes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::buffer::{ALIGNMENT, Buffer};
use super::flusher::Flusher;
use crate::unpack::UnpackError;

/// Jobs that may wait. Most of them hold a buffer, of which there are fewer.
const QUEUE: usize = 64;

/// A file that is being written.
pub struct Target {
    file: File,
    path: PathBuf,
    /// Whether it was set to go past the page cache; of concern to the writer only.
    is_direct: AtomicBool,
}

/// A part of a file.
pub struct Piece {
    pub buffer: Buffer,
    /// How much of the buffer.
    pub length: usize,
    /// Where in the file it belongs.
    pub at: u64,
    /// Whether it is all of the file.
    pub is_whole_file: bool,
}

enum Job {
    Write(Arc<Target>, Piece),
    /// Makes a file this long where it is shorter.
    Lengthen(Arc<Target>, u64),
    /// Answers once all before it is done.
    Settle(SyncSender<()>),
}

/// What went wrong first, in whatever thread.
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

    fn has_happened(&self) -> bool {
        self.happened.load(Ordering::Acquire)
    }

    fn check(&self) -> Result<(), UnpackError> {
        if !self.has_happened() {
            return Ok(());
        }
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (path, source) = first.unwrap_or_else(|| (PathBuf::new(), io::Error::other("an earlier write failed")));
        Err(UnpackError::Output { path, source })
    }
}

impl Target {
    pub fn new(file: File, path: PathBuf) -> Target {
        Target { file, path, is_direct: AtomicBool::new(false) }
    }

    /// Writes without the thread, which must have nothing of this file.
    pub fn write_at_once(&self, data: &[u8], at: u64) -> Result<(), UnpackError> {
        self.file.write_all_at(data, at).map_err(|source| self.failed(source))
    }

    /// Makes the file this long where it is shorter; without the thread, too.
    pub fn lengthen(&self, least: u64) -> Result<(), UnpackError> {
        self.make_at_least(least).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> UnpackError {
        UnpackError::Output { path: self.path.clone(), source }
    }

    fn write(&self, piece: &Piece, may_be_direct: &mut bool) -> io::Result<()> {
        let data = piece.buffer.bytes(piece.length);
        let is_aligned = piece.at.is_multiple_of(ALIGNMENT as u64) && !piece.is_whole_file;
        let mut done = 0;
        if *may_be_direct && is_aligned && piece.length >= ALIGNMENT {
            let aligned = piece.length - piece.length % ALIGNMENT;
            match self.set_direct(true).and_then(|()| self.file.write_all_at(&data[..aligned], piece.at)) {
                Ok(()) => done = aligned,
                // This file system doesn't take it, or wants more than we know of.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => *may_be_direct = false,
                Err(error) => return Err(error),
            }
        }
        if done == data.len() {
            return Ok(());
        }
        self.set_direct(false)?;
        self.file.write_all_at(&data[done..], piece.at + done as u64)
    }

    fn set_direct(&self, direct: bool) -> io::Result<()> {
        if self.is_direct.load(Ordering::Relaxed) != direct {
            let mut flags = fcntl_getfl(&self.file)?;
            flags.set(OFlags::DIRECT, direct);
            fcntl_setfl(&self.file, flags)?;
            self.is_direct.store(direct, Ordering::Relaxed);
        }
        Ok(())
    }

    fn make_at_least(&self, least: u64) -> io::Result<()> {
        if self.file.metadata()?.len() < least { self.file.set_len(least) } else { Ok(()) }
    }
}

/// The receiving side's hold on the writer. Dropped, it waits until nothing is written any more.
pub struct Writer {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    fault: Arc<Fault>,
}

impl Writer {
    /// Starts the thread. With `direct` large files go past the page cache where that can be.
    pub fn start(give_back: Sender<Buffer>, flusher: Flusher, fault: Arc<Fault>, direct: bool) -> io::Result<Writer> {
        let (jobs, waiting) = sync_channel(QUEUE);
        let work = Work { give_back, flusher, fault: fault.clone(), may_be_direct: direct };
        let thread = Builder::new().name("writer".into()).spawn(move || work.run(&waiting))?;
        Ok(Writer { jobs: Some(jobs), thread: Some(thread), fault })
    }

    pub fn write(&self, target: Arc<Target>, piece: Piece) -> Result<(), UnpackError> {
        self.ask(Job::Write(target, piece))
    }

    /// Makes a file `least` bytes long where it is shorter once all is written: it ends in a hole.
    pub fn lengthen(&self, target: Arc<Target>, least: u64) -> Result<(), UnpackError> {
        self.ask(Job::Lengthen(target, least))
    }

    /// Waits until all is written, and says whether it was.
    pub fn settle(&self) -> Result<(), UnpackError> {
        let (answer, settled) = sync_channel(1);
        self.ask(Job::Settle(answer))?;
        if settled.recv().is_err() {
            self.fault.note(PathBuf::new(), io::Error::other("the thread that writes is gone"));
        }
        self.fault.check()
    }

    /// Ends both threads, and says whether all went well.
    pub fn finish(self) -> Result<(), UnpackError> {
        let fault = self.fault.clone();
        drop(self);
        fault.check()
    }

    fn ask(&self, job: Job) -> Result<(), UnpackError> {
        self.fault.check()?;
        if let Some(jobs) = &self.jobs
            && jobs.send(job).is_err()
        {
            self.fault.note(PathBuf::new(), io::Error::other("the thread that writes is gone"));
        }
        self.fault.check()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            self.fault.note(PathBuf::new(), io::Error::other("the thread that writes has failed"));
        }
    }
}

/// What the thread works with.
struct Work {
    give_back: Sender<Buffer>,
    flusher: Flusher,
    fault: Arc<Fault>,
    may_be_direct: bool,
}

impl Work {
    /// After a fault nothing more is written, but everything is answered: whoever waits for a buffer gets it.
    fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            match job {
                Job::Write(target, piece) => {
                    if !self.fault.has_happened() {
                        self.write(&target, &piece);
                    }
                    let _ = self.give_back.send(piece.buffer);
                }
                Job::Lengthen(target, least) => {
                    if let Err(error) = target.make_at_least(least) {
                        self.fault.note(target.path.clone(), error);
                    }
                }
                Job::Settle(answer) => {
                    let _ = answer.send(());
                }
            }
        }
    }

    fn write(&mut self, target: &Target, piece: &Piece) {
        match target.write(piece, &mut self.may_be_direct) {
            Ok(()) => self.flusher.written(piece.length as u64),
            Err(error) => self.fault.note(target.path.clone(), error),
        }
    }
}

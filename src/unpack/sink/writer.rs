//! The thread that writes, so that the next bytes are received meanwhile.
//!
//! Large files are written past the page cache (O_DIRECT) where the file system takes that: filling the cache was the
//! dearest part of receiving a backup, and what is in it has to be written all the same before it counts. Small
//! files, and the odd ends of large ones, go through the cache, where many of them become few writes. A disk that is
//! slower than the network finds several pieces of a file waiting, and gets them at once.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use super::buffer::Buffer;
use super::flusher::Flusher;
use super::target::{Piece, Target};
use crate::unpack::UnpackError;

/// Jobs that may wait. Nearly all of them hold a buffer, of which the large ones are fewer.
const QUEUE: usize = 64;

/// Pieces that are written at once. Many disks, those of clouds above all, take their time for a write of whatever size,
/// and several at a time.
const TOGETHER: usize = 4;

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

/// The error where the thread that writes is gone, and hasn't said why.
pub fn gone() -> io::Error {
    io::Error::other("the thread that writes is gone")
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
        let work = Work { jobs: waiting, next: None, give_back, flusher, fault: fault.clone(), may_be_direct: direct };
        let thread = Builder::new().name("writer".into()).spawn(move || work.run())?;
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
            self.fault.note(PathBuf::new(), gone());
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
            self.fault.note(PathBuf::new(), gone());
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
    jobs: Receiver<Job>,
    /// Taken from the queue already.
    next: Option<Job>,
    give_back: Sender<Buffer>,
    flusher: Flusher,
    fault: Arc<Fault>,
    may_be_direct: bool,
}

impl Work {
    /// After a fault nothing more is written, but everything is answered: whoever waits for a buffer gets it.
    fn run(mut self) {
        while let Some(job) = self.next.take().or_else(|| self.jobs.recv().ok()) {
            match job {
                Job::Write(target, piece) => {
                    let run = self.collect(&target, piece);
                    if !self.fault.has_happened() {
                        self.write(&target, &run);
                    }
                    for piece in run {
                        let _ = self.give_back.send(piece.buffer);
                    }
                }
                Job::Lengthen(target, least) => {
                    if let Err(error) = target.make_at_least(least) {
                        self.fault.note(target.path().to_owned(), error);
                    }
                }
                Job::Settle(answer) => {
                    let _ = answer.send(());
                }
            }
        }
    }

    /// The piece, and those that wait and can be written with it.
    fn collect(&mut self, target: &Arc<Target>, piece: Piece) -> Vec<Piece> {
        let mut run = vec![piece];
        while run.len() < TOGETHER {
            match self.jobs.try_recv() {
                Ok(Job::Write(other, next)) if Arc::ptr_eq(&other, target) && goes_on(&run, &next) => run.push(next),
                Ok(job) => {
                    self.next = Some(job);
                    break;
                }
                Err(_) => break,
            }
        }
        run
    }

    fn write(&mut self, target: &Target, run: &[Piece]) {
        match target.write(run, &mut self.may_be_direct) {
            Ok(()) => self.flusher.written(run.iter().map(|piece| piece.length as u64).sum()),
            Err(error) => self.fault.note(target.path().to_owned(), error),
        }
    }
}

fn goes_on(run: &[Piece], next: &Piece) -> bool {
    run.last().is_some_and(|last| last.goes_on_with(next))
}

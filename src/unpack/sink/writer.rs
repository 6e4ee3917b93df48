//! Writes files in threads of their own, so that the next bytes can be received meanwhile.
//!
//! Each file has one thread, which writes its pieces in order. The backup tools send several files in turns, one
//! piece of each. With one thread the disk was idle between two writes. With several threads the next write, of
//! another file, is already waiting.
//!
//! Large files are written around the page cache (O_DIRECT) if the file system supports that. Filling the cache
//! was the most expensive part of receiving a backup, and its content has to be written before it counts anyway.
//! Small files and the odd ends of large ones go through the cache, which turns many of them into few writes. On
//! a disk slower than the network, several pieces of a file wait, and are written together.

use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use super::buffer::Buffer;
use super::fault::Fault;
use super::flusher::Flusher;
use super::target::{Piece, Target};
use crate::unpack::UnpackError;

/// As many as the files that the donor's tool reads at once by default.
const THREADS: usize = 4;

/// The number of jobs that may wait for a thread. Nearly all of them hold a buffer, and there are fewer large
/// ones.
const QUEUE: usize = 64;

/// The number of pieces in one write. Many disks, above all those of clouds, take a constant time per write of
/// any size, and run several at once.
const TOGETHER: usize = 4;

enum Job {
    Write(Arc<Target>, Piece),
    /// Extends a file to this length if it is shorter.
    Lengthen(Arc<Target>, u64),
    /// Answers once all earlier jobs are done.
    Settle(SyncSender<()>),
}

/// The error for a thread that ended without an error of its own.
pub fn gone() -> io::Error {
    io::Error::other("a writer thread ended early")
}

/// The receiving side's handle to the threads. Dropping it waits until all writes are done.
pub struct Writer {
    hands: Vec<Hand>,
    /// The first thread to consider for the next file.
    next: Cell<usize>,
    fault: Arc<Fault>,
}

/// A writer thread and its queue.
struct Hand {
    jobs: SyncSender<Job>,
    thread: JoinHandle<()>,
    /// Cloned once for each assigned file.
    files: Rc<()>,
}

/// Assigns a file to a thread, until it is dropped.
pub struct Assigned {
    hand: usize,
    _file: Rc<()>,
}

impl Writer {
    /// Starts the threads, or as many as possible. With `direct`, large files bypass the page cache if the file
    /// system supports that.
    pub fn start(give_back: Sender<Buffer>, flusher: Flusher, fault: Arc<Fault>, direct: bool) -> io::Result<Writer> {
        let mut writer = Writer { hands: Vec::new(), next: Cell::default(), fault };
        let flusher = Arc::new(flusher);
        for _ in 0..THREADS {
            let (jobs, waiting) = sync_channel(QUEUE);
            let work = Work {
                jobs: waiting,
                next: None,
                give_back: give_back.clone(),
                flusher: flusher.clone(),
                fault: writer.fault.clone(),
                may_be_direct: direct,
            };
            match Builder::new().name("writer".into()).spawn(move || work.run()) {
                Ok(thread) => writer.hands.push(Hand { jobs, thread, files: Rc::default() }),
                Err(error) if writer.hands.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(writer)
    }

    /// Assigns a file to the thread with the fewest files. Equal ones take turns.
    pub fn assign(&self) -> Assigned {
        let count = self.hands.len();
        let by_turns = (0..count).map(|step| (self.next.get() + step) % count);
        let hand = by_turns.min_by_key(|hand| Rc::strong_count(&self.hands[*hand].files)).unwrap_or_default();
        self.next.set(hand + 1);
        Assigned { hand, _file: self.hands[hand].files.clone() }
    }

    pub fn write(&self, by: &Assigned, target: Arc<Target>, piece: Piece) -> Result<(), UnpackError> {
        self.ask(&self.hands[by.hand], Job::Write(target, piece))
    }

    /// Extends a file that ends in a hole to `least` bytes, after its writes.
    pub fn lengthen(&self, by: &Assigned, target: Arc<Target>, least: u64) -> Result<(), UnpackError> {
        self.ask(&self.hands[by.hand], Job::Lengthen(target, least))
    }

    /// Waits for all writes, and fails if one failed.
    pub fn settle(&self) -> Result<(), UnpackError> {
        let (answer, settled) = sync_channel(self.hands.len());
        for hand in &self.hands {
            self.ask(hand, Job::Settle(answer.clone()))?;
        }
        drop(answer);
        if settled.iter().count() < self.hands.len() {
            self.fault.note(PathBuf::new(), gone());
        }
        self.fault.check()
    }

    /// Ends all threads, and fails if a write failed.
    pub fn finish(self) -> Result<(), UnpackError> {
        let fault = self.fault.clone();
        drop(self);
        fault.check()
    }

    fn ask(&self, hand: &Hand, job: Job) -> Result<(), UnpackError> {
        self.fault.check()?;
        if hand.jobs.send(job).is_err() {
            self.fault.note(PathBuf::new(), gone());
        }
        self.fault.check()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // A thread ends when its queue is closed and empty. All queues are closed before the first wait.
        let threads: Vec<JoinHandle<()>> = self.hands.drain(..).map(|hand| hand.thread).collect();
        for thread in threads {
            if thread.join().is_err() {
                self.fault.note(PathBuf::new(), gone());
            }
        }
    }
}

/// The state of a thread.
struct Work {
    jobs: Receiver<Job>,
    /// A job that was already taken from the queue.
    next: Option<Job>,
    give_back: Sender<Buffer>,
    flusher: Arc<Flusher>,
    fault: Arc<Fault>,
    may_be_direct: bool,
}

impl Work {
    /// After a fault writes are skipped, but every job is answered, so that buffers return to their waiting
    /// owner.
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

    /// The piece, and waiting pieces that can join its write.
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
        // The buffers must be returned even after a panic: the other threads keep the channel open, so a wait for
        // a buffer would last forever.
        let written = catch_unwind(AssertUnwindSafe(|| target.write(run, &mut self.may_be_direct)));
        match written.unwrap_or_else(|_| Err(io::Error::other("a bug in the program while it was written"))) {
            Ok(()) => self.flusher.written(run.iter().map(|piece| piece.length as u64).sum()),
            Err(error) => self.fault.note(target.path().to_owned(), error),
        }
    }
}

fn goes_on(run: &[Piece], next: &Piece) -> bool {
    run.last().is_some_and(|last| last.goes_on_with(next))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs::File;
    use std::time::Duration;

    use super::super::buffer::{LARGE, Pool};
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    /// A directory, the pool, and what writes from it.
    fn started() -> (tempfile::TempDir, Pool, Writer) {
        let directory = tempfile::tempdir().unwrap();
        let fault = Arc::<Fault>::default();
        let flusher = Flusher::start(File::open(&directory).unwrap(), directory.path().into(), fault.clone()).unwrap();
        let mut pool = Pool::new();
        let writer = Writer::start(pool.return_address(), flusher, fault, true).unwrap();
        (directory, pool, writer)
    }

    fn filled(pool: &mut Pool, byte: u8, at: u64) -> Piece {
        let mut buffer = pool.take().unwrap();
        assert_eq!(buffer.size(), LARGE);
        buffer.room(0, LARGE).fill(byte);
        pool.went_away(LARGE);
        Piece { buffer, length: LARGE, at, is_whole_file: false }
    }

    #[test]
    fn pieces_of_a_file_are_written_in_order() {
        let (directory, mut pool, writer) = started();
        let files = 2 * THREADS + 1;
        let path = |number: usize| directory.path().join(number.to_string());
        let targets: Vec<Arc<Target>> = (0..files)
            .map(|number| Arc::new(Target::new(File::create_new(path(number)).unwrap(), path(number))))
            .collect();
        let hands: Vec<Assigned> = targets.iter().map(|_| writer.assign()).collect();
        // Every piece except the last is overwritten by the next.
        for turn in 0..10 {
            for (number, target) in targets.iter().enumerate() {
                let piece = filled(&mut pool, 10 * turn + number as u8, LARGE as u64);
                writer.write(&hands[number], target.clone(), piece).unwrap();
            }
        }
        for (target, hand) in targets.iter().zip(&hands) {
            writer.lengthen(hand, target.clone(), 3 * LARGE as u64).unwrap();
        }
        writer.settle().unwrap();
        for number in 0..files {
            let expected = [vec![0; LARGE], vec![90 + number as u8; LARGE], vec![0; LARGE]].concat();
            assert!(std::fs::read(path(number)).unwrap() == expected, "{number}");
        }
        writer.finish().unwrap();
    }

    #[test]
    fn a_file_goes_to_the_thread_with_the_fewest_files() {
        let (_directory, _pool, writer) = started();
        let mut held: Vec<Assigned> = (0..2 * THREADS).map(|_| writer.assign()).collect();
        let hands: Vec<usize> = held.iter().map(|assigned| assigned.hand).collect();
        assert_eq!(hands, (0..THREADS).chain(0..THREADS).collect::<Vec<_>>());
        for free in [2, 0, 3] {
            held.retain(|assigned| assigned.hand != free);
            held.extend([writer.assign(), writer.assign()]);
            assert!(held[held.len() - 2..].iter().all(|assigned| assigned.hand == free));
        }
        held.clear();
        // Short files are finished before the next one comes.
        let hands: BTreeSet<usize> = (0..THREADS).map(|_| writer.assign().hand).collect();
        assert_eq!(hands.len(), THREADS);
    }

    #[test]
    fn a_failed_thread_returns_its_buffers() {
        let (directory, mut pool, writer) = started();
        let path = directory.path().join("file");
        let target = Arc::new(Target::new(File::create_new(&path).unwrap(), path));
        // Its buffer is still empty.
        let piece = Piece { buffer: pool.take().unwrap(), length: LARGE, at: 0, is_whole_file: false };
        pool.went_away(LARGE);
        // The thread may have failed before this returns.
        let written = writer.write(&writer.assign(), target, piece);
        let (answer, answered) = sync_channel(1);
        // Small buffers are refused while a large one is away.
        std::thread::spawn(move || answer.send((0..20).map_while(|_| pool.take()).any(|buffer| buffer.size() < LARGE)));
        assert!(answered.recv_timeout(LONG).unwrap());
        let error = written.err().unwrap_or_else(|| writer.finish().unwrap_err());
        assert!(error.to_string().contains("a bug in the program"), "{error}");
    }
}

//! The threads that write, so that the next bytes are received meanwhile.
//!
//! Each file is written by one of them, in the order in which its pieces came. The backup tools send several files by turns,
//! a piece of each: with one thread the disk had nothing to do between two writes, with several the next one is there
//! already, of another file.
//!
//! Large files are written past the page cache (O_DIRECT) where the file system takes that: filling the cache was the
//! dearest part of receiving a backup, and what is in it has to be written all the same before it counts. Small
//! files, and the odd ends of large ones, go through the cache, where many of them become few writes. A disk that is
//! slower than the network finds several pieces of a file waiting, and gets them at once.

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

/// As many as the files that the donor's tool reads at once, unless it is told otherwise.
const THREADS: usize = 4;

/// Jobs that may wait for a thread. Nearly all of them hold a buffer, of which the large ones are fewer.
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

/// The error where a thread that writes is gone, and hasn't said why.
pub fn gone() -> io::Error {
    io::Error::other("a thread that writes is gone")
}

/// The receiving side's hold on the threads. Dropped, it waits until nothing is written any more.
pub struct Writer {
    hands: Vec<Hand>,
    /// Who is asked first to take a file.
    next: Cell<usize>,
    fault: Arc<Fault>,
}

/// A thread that writes, and the queue to it.
struct Hand {
    jobs: SyncSender<Job>,
    thread: JoinHandle<()>,
    /// Has a clone for each file that is with it.
    files: Rc<()>,
}

/// Says by which thread a file is written. It counts as that one's as long as this is there.
pub struct Assigned {
    hand: usize,
    _file: Rc<()>,
}

impl Writer {
    /// Starts the threads, or as many as can be had. With `direct` large files go past the page cache where that can be.
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

    /// Who is to write a file: one with the fewest of them, by turns where several have as few.
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

    /// Makes a file `least` bytes long where it is shorter once all is written: it ends in a hole.
    pub fn lengthen(&self, by: &Assigned, target: Arc<Target>, least: u64) -> Result<(), UnpackError> {
        self.ask(&self.hands[by.hand], Job::Lengthen(target, least))
    }

    /// Waits until all is written, and says whether it was.
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

    /// Ends all threads, and says whether all went well.
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
        // A thread ends when its queue is closed and empty. All are closed before the first is waited for.
        let threads: Vec<JoinHandle<()>> = self.hands.drain(..).map(|hand| hand.thread).collect();
        for thread in threads {
            if thread.join().is_err() {
                self.fault.note(PathBuf::new(), gone());
            }
        }
    }
}

/// What a thread works with.
struct Work {
    jobs: Receiver<Job>,
    /// Taken from the queue already.
    next: Option<Job>,
    give_back: Sender<Buffer>,
    flusher: Arc<Flusher>,
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
        // Where this panics the buffers must be given back all the same: the other threads keep the channel open, and
        // whoever waits for one would wait for ever.
        let written = catch_unwind(AssertUnwindSafe(|| target.write(run, &mut self.may_be_direct)));
        match written.unwrap_or_else(|_| Err(io::Error::other("a fault of the program while it was written"))) {
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
    fn each_file_has_its_pieces_in_their_order() {
        let (directory, mut pool, writer) = started();
        let files = 2 * THREADS + 1;
        let path = |number: usize| directory.path().join(number.to_string());
        let targets: Vec<Arc<Target>> = (0..files)
            .map(|number| Arc::new(Target::new(File::create_new(path(number)).unwrap(), path(number))))
            .collect();
        let hands: Vec<Assigned> = targets.iter().map(|_| writer.assign()).collect();
        // Every piece but the last is written over by the next.
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
    fn a_file_goes_to_a_thread_with_the_fewest() {
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
        // Those that are short are finished before the next one comes.
        let hands: BTreeSet<usize> = (0..THREADS).map(|_| writer.assign().hand).collect();
        assert_eq!(hands.len(), THREADS);
    }

    #[test]
    fn a_thread_that_fails_gives_back_what_it_has() {
        let (directory, mut pool, writer) = started();
        let path = directory.path().join("file");
        let target = Arc::new(Target::new(File::create_new(&path).unwrap(), path));
        // Of which nothing is filled.
        let piece = Piece { buffer: pool.take().unwrap(), length: LARGE, at: 0, is_whole_file: false };
        pool.went_away(LARGE);
        writer.write(&writer.assign(), target, piece).unwrap();
        let (answer, answered) = sync_channel(1);
        // No small one is to be had as long as a large one is away.
        std::thread::spawn(move || answer.send((0..20).map_while(|_| pool.take()).any(|buffer| buffer.size() < LARGE)));
        assert!(answered.recv_timeout(LONG).unwrap());
        let error = writer.finish().unwrap_err();
        assert!(error.to_string().contains("a fault of the program"), "{error}");
    }
}

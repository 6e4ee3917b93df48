//! Memory that data is received into and written from, without being moved in between.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::BytesMut;
use rustix::mm::{Advice, madvise};

/// Files that may be open at once, which whoever creates them sees to. The tools keep one for each of their threads.
pub const OPEN_FILES: usize = 128;

/// Bytes of a large buffer, and of most writes: few system calls, each long enough for a disk.
pub const LARGE: usize = 1 << 20;

/// For files that find no large one free.
const SMALL: usize = 16 << 10;

/// Large buffers. One is filled while others wait or are written; the tools fill few files at a time. More of them bridge
/// more of the moments in which either side waits.
const LARGE_ONES: usize = 14;

/// Small buffers: some are left to be written even where every file that may be open holds one.
const SMALL_ONES: usize = OPEN_FILES;

/// What O_DIRECT wants of addresses, offsets and lengths on every usual disk: the largest logical block. (open(2))
pub const ALIGNMENT: usize = 4096;

/// A huge page of x86-64, and of arm64 with pages of 4 KiB.
const HUGE_PAGE: usize = 2 << 20;

/// Bytes at an aligned address, which never move.
pub struct Buffer {
    /// As long as was ever needed: what wasn't is not touched. Its capacity is there from the beginning.
    memory: BytesMut,
    size: usize,
}

impl Buffer {
    fn large_ones() -> VecDeque<Buffer> {
        Buffer::side_by_side(LARGE_ONES, LARGE, HUGE_PAGE, prefer_huge_pages).collect()
    }

    fn small_ones() -> Vec<Buffer> {
        Buffer::side_by_side(SMALL_ONES, SMALL, ALIGNMENT, |_| {}).collect()
    }

    /// So many buffers of a size in one piece of memory.
    fn side_by_side(
        count: usize,
        size: usize,
        alignment: usize,
        prepare: fn(&mut BytesMut),
    ) -> impl Iterator<Item = Buffer> {
        let mut all = BytesMut::with_capacity(count * size + alignment);
        let mut memory = all.split_off(all.as_ptr().align_offset(alignment));
        prepare(&mut memory);
        (0..count).map(move |_| {
            let rest = memory.split_off(size);
            Buffer { memory: std::mem::replace(&mut memory, rest), size }
        })
    }

    /// How much it holds.
    pub fn size(&self) -> usize {
        self.size
    }

    /// So many of its bytes, of those that were filled.
    pub fn bytes(&self, length: usize) -> &[u8] {
        &self.memory[..length]
    }

    /// So many of its bytes from a place on, to be filled.
    pub fn room(&mut self, from: usize, length: usize) -> &mut [u8] {
        let end = from + length.min(self.size - from);
        if self.memory.len() < end {
            self.memory.resize(end, 0);
        }
        &mut self.memory[from..end]
    }
}

/// Has the kernel take huge pages for memory, where it has some: a write of one is one piece for the disk instead of 256,
/// each of which is looked up and pinned. A kernel without them does without. The memory begins where a huge page does; what
/// is no whole one at its end is left out.
#[allow(unsafe_code, reason = "what is advised is about an address")]
fn prefer_huge_pages(memory: &mut BytesMut) {
    let length = memory.capacity() / HUGE_PAGE * HUGE_PAGE;
    // SAFETY: the range is ours alone, and this advice leaves what is in it as it is.
    let _ = unsafe { madvise(memory.as_mut_ptr().cast(), length, Advice::LinuxHugepage) };
}

/// Where buffers come from and go back to. There are so many and no more, whatever a stream does with its files.
///
/// The large ones go round, in the order in which they were written: what a buffer held is long gone from the caches of
/// whoever has read it there, and as long as one file is filled, what is written at once lies side by side for the disk,
/// too. To take the one that came back last costs twice as much of the processor now and then, where that is a host's
/// thread on another core.
pub struct Pool {
    large: VecDeque<Buffer>,
    small: Vec<Buffer>,
    /// Large ones that were handed to the writer and are not back yet.
    away: usize,
    returned: Receiver<Buffer>,
}

impl Pool {
    pub fn new() -> Pool {
        Pool { large: Buffer::large_ones(), small: Buffer::small_ones(), away: 0, returned: channel().1 }
    }

    /// Where the writer gives buffers back, from now on. Only the writer has it: that it is gone is noticed.
    pub fn return_address(&mut self) -> Sender<Buffer> {
        let (give_back, returned) = channel();
        self.returned = returned;
        give_back
    }

    /// A buffer to fill. Waits for the writer where it has all that files don't hold; where files hold all large ones,
    /// they are so many that a small one has to do. `None` where all of its threads are gone, with
    /// all that they had.
    pub fn take(&mut self) -> Option<Buffer> {
        while let Ok(buffer) = self.returned.try_recv() {
            self.came_back(buffer);
        }
        loop {
            if let Some(buffer) = self.large.pop_front() {
                return Some(buffer);
            }
            if self.away == 0
                && let Some(buffer) = self.small.pop()
            {
                return Some(buffer);
            }
            let buffer = self.returned.recv().ok()?;
            self.came_back(buffer);
        }
    }

    /// Takes note that the writer was given a buffer of this size.
    pub fn went_away(&mut self, size: usize) {
        self.away += usize::from(size == LARGE);
    }

    /// Takes a buffer back that was not given to the writer: it is the next one still.
    pub fn put_back(&mut self, buffer: Buffer) {
        match buffer.size() {
            LARGE => self.large.push_front(buffer),
            _ => self.small.push(buffer),
        }
    }

    fn came_back(&mut self, buffer: Buffer) {
        if buffer.size() != LARGE {
            return self.small.push(buffer);
        }
        self.away -= 1;
        self.large.push_back(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(buffer: &Buffer) -> usize {
        buffer.bytes(0).as_ptr().addr()
    }

    /// A pool whose large buffers are all held by files.
    fn emptied() -> (Pool, Vec<Buffer>) {
        let mut pool = Pool::new();
        let held: Vec<Buffer> = (0..LARGE_ONES).map(|_| pool.take().unwrap()).collect();
        assert!(held.iter().all(|buffer| buffer.size() == LARGE));
        (pool, held)
    }

    #[test]
    fn buffers_are_aligned_and_hold_what_they_say() {
        let (mut pool, mut held) = emptied();
        for (mut buffer, size) in [(pool.take().unwrap(), SMALL), (held.remove(1), LARGE)] {
            let place = place(&buffer);
            assert!(place.is_multiple_of(ALIGNMENT));
            for (from, length) in [(0, 1), (1, size / 2), (0, size), (size - 1, size)] {
                assert_eq!(buffer.room(from, length).len(), length.min(size - from));
            }
            assert_eq!((buffer.size(), buffer.bytes(size).len(), self::place(&buffer)), (size, size, place));
        }
    }

    #[test]
    fn large_ones_lie_side_by_side_in_what_can_be_huge_pages() {
        let buffers = Buffer::large_ones();
        let first = place(&buffers[0]);
        assert!(first.is_multiple_of(HUGE_PAGE));
        for (number, buffer) in buffers.iter().enumerate() {
            assert_eq!((place(buffer), buffer.size()), (first + number * LARGE, LARGE));
        }
        assert_eq!(buffers.len(), LARGE_ONES);
    }

    #[test]
    fn large_ones_go_round_in_the_order_in_which_they_were_written() {
        let mut pool = Pool::new();
        let give_back = pool.return_address();
        let first = pool.take().unwrap();
        let begin = place(&first);
        pool.put_back(first);
        for turn in 0..2 * LARGE_ONES + 1 {
            let buffer = pool.take().unwrap();
            assert_eq!(place(&buffer), begin + turn % LARGE_ONES * LARGE);
            pool.went_away(buffer.size());
            give_back.send(buffer).unwrap();
        }
        // Of two files the second is passed on first.
        let [first, second] = [pool.take(), pool.take()].map(Option::unwrap);
        let order = [&second, &first].map(place);
        for buffer in [second, first] {
            pool.went_away(buffer.size());
            give_back.send(buffer).unwrap();
        }
        let mut held: Vec<Buffer> = (0..LARGE_ONES).map(|_| pool.take().unwrap()).collect();
        assert_eq!(held.split_off(LARGE_ONES - 2).iter().map(place).collect::<Vec<_>>(), order);
    }

    #[test]
    fn who_finds_no_large_buffer_gets_a_small_one_and_who_waits_gets_one_back() {
        let (mut pool, mut held) = emptied();
        assert_eq!(pool.take().unwrap().size(), SMALL);
        let written = held.pop().unwrap();
        let give_back = pool.return_address();
        pool.went_away(written.size());
        let writer = std::thread::spawn(move || give_back.send(written).unwrap());
        assert_eq!(pool.take().unwrap().size(), LARGE);
        writer.join().unwrap();
        assert_eq!(pool.take().unwrap().size(), SMALL);
    }

    #[test]
    fn there_are_no_more_small_ones_than_there_are_files() {
        let (mut pool, _held) = emptied();
        let give_back = pool.return_address();
        let mut small: Vec<Buffer> = (0..SMALL_ONES).map(|_| pool.take().unwrap()).collect();
        let written = small.pop().unwrap();
        let only = place(&written);
        pool.went_away(written.size());
        let writer = std::thread::spawn(move || {
            give_back.send(written).unwrap();
            give_back
        });
        assert_eq!(pool.take().map(|buffer| place(&buffer)), Some(only));
        writer.join().unwrap();
    }

    #[test]
    fn nobody_waits_for_a_writer_that_is_gone() {
        let (mut pool, held) = emptied();
        let give_back = pool.return_address();
        held.iter().for_each(|buffer| pool.went_away(buffer.size()));
        drop((give_back, held));
        assert!(pool.take().is_none());
    }
}

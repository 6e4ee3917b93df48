//! Memory that data is received into and written from, without being moved in between.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::{Buf, BytesMut};
use rustix::mm::{Advice, madvise};

/// Bytes of a large buffer, and of a write: few system calls, and the disk is kept busy by one of them at a time.
pub const LARGE: usize = 1 << 20;

/// For files that find no large one free: as many as there may be open files.
const SMALL: usize = 32 << 10;

/// Large buffers at once. One is filled while others wait or are written; the tools fill few files at a time. More of
/// them bridge more of the moments in which either side waits; these, small ones for all files that may be open, and what
/// decoders may have stay together below 32 MiB.
const LARGE_ONES: usize = 14;

/// What O_DIRECT wants of addresses, offsets and lengths on every usual disk: the largest logical block. (open(2))
pub const ALIGNMENT: usize = 4096;

/// A huge page of x86-64, and of arm64 with pages of 4 KiB.
const HUGE_PAGE: usize = 2 << 20;

/// Bytes at an aligned address.
pub struct Buffer {
    /// As long as was ever needed; its capacity is there from the beginning, so that it never moves.
    memory: BytesMut,
    size: usize,
}

impl Buffer {
    /// Of which nothing is touched before it is needed: there may be very many.
    fn small() -> Buffer {
        let mut memory = BytesMut::with_capacity(SMALL + ALIGNMENT);
        let before = memory.as_ptr().align_offset(ALIGNMENT);
        memory.resize(before, 0);
        memory.advance(before);
        Buffer { memory, size: SMALL }
    }

    /// All large ones, side by side, of which nothing was touched yet: memory of that size comes zeroed from the kernel.
    fn large_ones() -> VecDeque<Buffer> {
        let mut memory = BytesMut::zeroed(LARGE_ONES * LARGE + HUGE_PAGE);
        memory.advance(memory.as_ptr().align_offset(HUGE_PAGE));
        memory.truncate(LARGE_ONES * LARGE);
        prefer_huge_pages(&mut memory);
        (0..LARGE_ONES).map(|_| Buffer { memory: memory.split_to(LARGE), size: LARGE }).collect()
    }

    /// How much it holds.
    pub fn size(&self) -> usize {
        self.size
    }

    /// So many of its bytes.
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
/// each of which is looked up and pinned. A kernel without them does without.
#[allow(unsafe_code, reason = "what is advised is about an address")]
fn prefer_huge_pages(memory: &mut BytesMut) {
    // SAFETY: the range is ours alone, and this advice leaves what is in it as it is.
    let _ = unsafe { madvise(memory.as_mut_ptr().cast(), memory.len(), Advice::LinuxHugepage) };
}

/// Where buffers come from and go back to.
///
/// The large ones go round, always in the order in which they lie: what is written at once lies side by side for the
/// disk, too, and what a buffer held is long gone from the caches of whoever has read it there. To take the one that
/// came back last costs twice as much of the processor now and then, where that is a host's thread on another core.
pub struct Pool {
    free: VecDeque<Buffer>,
    /// Handed to the writer and not back yet.
    away: usize,
    returned: Receiver<Buffer>,
}

impl Pool {
    pub fn new() -> Pool {
        Pool { free: Buffer::large_ones(), away: 0, returned: channel().1 }
    }

    /// Where the writer gives buffers back, from now on. Only the writer has it: that it is gone is noticed.
    pub fn return_address(&mut self) -> Sender<Buffer> {
        let (give_back, returned) = channel();
        self.returned = returned;
        give_back
    }

    /// A buffer to fill. Waits for the writer where it has all that files don't hold; where files hold all, they are so
    /// many that a small one has to do.
    pub fn take(&mut self) -> Buffer {
        while let Ok(buffer) = self.returned.try_recv() {
            self.came_back(buffer);
        }
        while self.free.is_empty() && self.away > 0 {
            match self.returned.recv() {
                Ok(buffer) => self.came_back(buffer),
                // The writer is gone, with what it had: whoever gives it the next piece is told so.
                Err(_) => self.away = 0,
            }
        }
        self.free.pop_front().unwrap_or_else(Buffer::small)
    }

    /// Takes note of a buffer that the writer is given.
    pub fn went_away(&mut self, buffer: &Buffer) {
        if buffer.size() == LARGE {
            self.away += 1;
        }
    }

    /// Takes a buffer back that was not given to the writer: it is the next one still.
    pub fn put_back(&mut self, buffer: Buffer) {
        if buffer.size() == LARGE {
            self.free.push_front(buffer);
        }
    }

    fn came_back(&mut self, buffer: Buffer) {
        if buffer.size() == LARGE {
            self.away -= 1;
            self.free.push_back(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_hold_what_they_say() {
        for (mut buffer, size) in [(Buffer::small(), SMALL), (Pool::new().take(), LARGE)] {
            let place = buffer.memory.as_ptr();
            assert!(place.addr().is_multiple_of(ALIGNMENT));
            for (from, length) in [(0, 1), (1, size / 2), (0, size), (size - 1, size)] {
                assert_eq!(buffer.room(from, length).len(), length.min(size - from));
                assert_eq!(buffer.memory.as_ptr(), place);
            }
            assert_eq!((buffer.size(), buffer.bytes(size).len()), (size, size));
        }
    }

    #[test]
    fn large_ones_lie_side_by_side_in_what_can_be_huge_pages() {
        let buffers = Buffer::large_ones();
        let first = buffers[0].bytes(1).as_ptr().addr();
        assert!(first.is_multiple_of(HUGE_PAGE));
        for (number, buffer) in buffers.iter().enumerate() {
            assert_eq!((buffer.bytes(1).as_ptr().addr(), buffer.size()), (first + number * LARGE, LARGE));
        }
        assert_eq!(buffers.len(), LARGE_ONES);
    }

    #[test]
    fn large_ones_go_round_in_the_order_in_which_they_lie() {
        let mut pool = Pool::new();
        let give_back = pool.return_address();
        let first = pool.take();
        let place = |buffer: &Buffer| buffer.bytes(0).as_ptr().addr();
        let begin = place(&first);
        pool.put_back(first);
        for turn in 0..2 * LARGE_ONES + 1 {
            let buffer = pool.take();
            assert_eq!(place(&buffer), begin + turn % LARGE_ONES * LARGE);
            pool.went_away(&buffer);
            give_back.send(buffer).unwrap();
        }
    }

    #[test]
    fn who_finds_no_large_buffer_gets_a_small_one_and_who_waits_gets_one_back() {
        let mut pool = Pool::new();
        let mut held: Vec<Buffer> = (0..LARGE_ONES).map(|_| pool.take()).collect();
        assert!(held.iter().all(|buffer| buffer.size() == LARGE));
        assert_eq!(pool.take().size(), SMALL);
        let written = held.pop().unwrap();
        let give_back = pool.return_address();
        pool.went_away(&written);
        let writer = std::thread::spawn(move || give_back.send(written).unwrap());
        assert_eq!(pool.take().size(), LARGE);
        writer.join().unwrap();
        assert_eq!(pool.take().size(), SMALL);
    }

    #[test]
    fn nobody_waits_for_a_writer_that_is_gone() {
        let mut pool = Pool::new();
        let give_back = pool.return_address();
        let away: Vec<Buffer> = (0..LARGE_ONES).map(|_| pool.take()).collect();
        away.iter().for_each(|buffer| pool.went_away(buffer));
        drop((give_back, away));
        assert_eq!(pool.take().size(), SMALL);
    }
}

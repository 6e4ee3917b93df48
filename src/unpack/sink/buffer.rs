//! Buffers that data are received into and written from, without a copy in between.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::BytesMut;
use rustix::mm::{Advice, madvise};

/// The largest number of open files. The caller enforces it. The tools keep one open for each of their threads.
pub const OPEN_FILES: usize = 128;

/// The size of a large buffer, and of most writes: few system calls, each long enough for a disk.
pub const LARGE: usize = 1 << 20;

/// For files that find all large buffers taken.
const SMALL: usize = 16 << 10;

/// The number of large buffers. One is filled while others wait or are written, because the tools fill few files
/// at a time. More buffers bridge more pauses of either side.
const LARGE_ONES: usize = 14;

/// The number of small buffers. Some are free to be written even if every open file holds one.
const SMALL_ONES: usize = OPEN_FILES;

/// The alignment that O_DIRECT needs for addresses, offsets and lengths on every usual disk: the largest logical
/// block. (open(2))
pub const ALIGNMENT: usize = 4096;

/// A huge page of x86-64, and of arm64 with pages of 4 KiB.
const HUGE_PAGE: usize = 2 << 20;

/// Bytes at a fixed, aligned address.
pub struct Buffer {
    /// Grows up to the largest use, so that the rest stays untouched. The capacity is allocated at the start.
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

    /// This many buffers of one size in one piece of memory.
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

    /// The capacity in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The first `length` filled bytes.
    pub fn bytes(&self, length: usize) -> &[u8] {
        &self.memory[..length]
    }

    /// A part of the buffer to fill.
    pub fn room(&mut self, from: usize, length: usize) -> &mut [u8] {
        let end = from + length.min(self.size - from);
        if self.memory.len() < end {
            self.memory.resize(end, 0);
        }
        &mut self.memory[from..end]
    }
}

/// Advises the kernel to use huge pages. The write of a huge page is then one piece for the disk instead of 256,
/// each of which has to be looked up and pinned. Kernels without huge pages ignore the advice. The memory starts
/// at a huge page, and a partial one at its end is left out.
#[allow(unsafe_code, reason = "what is advised is about an address")]
fn prefer_huge_pages(memory: &mut BytesMut) {
    let length = memory.capacity() / HUGE_PAGE * HUGE_PAGE;
    // SAFETY: the range is ours alone, and this advice leaves what is in it as it is.
    let _ = unsafe { madvise(memory.as_mut_ptr().cast(), length, Advice::LinuxHugepage) };
}

/// Hands out buffers and takes them back. Their number is fixed for every stream.
///
/// The large ones are used in the order in which they were written. A returned buffer has then left the
/// processor's caches. While a single file is filled, writes in progress are adjacent in memory, which helps the
/// disk. Using the latest returned buffer first sometimes takes twice as much processor time, if the reader is a
/// host's thread on another core.
pub struct Pool {
    large: VecDeque<Buffer>,
    small: Vec<Buffer>,
    /// Large buffers that the writer still has.
    away: usize,
    returned: Receiver<Buffer>,
}

impl Pool {
    pub fn new() -> Pool {
        Pool { large: Buffer::large_ones(), small: Buffer::small_ones(), away: 0, returned: channel().1 }
    }

    /// The channel through which the writer returns buffers from now on. Only the writer holds it, so its end is
    /// noticed.
    pub fn return_address(&mut self) -> Sender<Buffer> {
        let (give_back, returned) = channel();
        self.returned = returned;
        give_back
    }

    /// A buffer to fill. If files hold all large ones, it is a small one. If the writer has them, this waits for
    /// it. `None` if all writer threads are gone with their buffers.
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

    /// Records that the writer was given a buffer of this size.
    pub fn went_away(&mut self, size: usize) {
        self.away += usize::from(size == LARGE);
    }

    /// Takes back a buffer that skipped the writer. It is the next one to be handed out.
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
    fn buffers_are_aligned_and_have_their_size() {
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
    fn large_buffers_are_adjacent_and_can_be_huge_pages() {
        let buffers = Buffer::large_ones();
        let first = place(&buffers[0]);
        assert!(first.is_multiple_of(HUGE_PAGE));
        for (number, buffer) in buffers.iter().enumerate() {
            assert_eq!((place(buffer), buffer.size()), (first + number * LARGE, LARGE));
        }
        assert_eq!(buffers.len(), LARGE_ONES);
    }

    #[test]
    fn large_buffers_are_used_in_the_order_of_their_writes() {
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
        // The second of two files is passed on first.
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
    fn small_buffers_replace_held_large_ones_and_written_ones_are_waited_for() {
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
    fn there_are_as_many_small_buffers_as_files() {
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
    fn a_dead_writer_ends_the_wait() {
        let (mut pool, held) = emptied();
        let give_back = pool.return_address();
        held.iter().for_each(|buffer| pool.went_away(buffer.size()));
        drop((give_back, held));
        assert!(pool.take().is_none());
    }
}

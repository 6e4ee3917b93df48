//! Memory that data is received into and written from, without being moved in between.

use std::sync::mpsc::{Receiver, Sender, channel};

/// Bytes of a large buffer, and of a write: few system calls, and the disk is kept busy by one of them at a time.
pub const LARGE: usize = 1 << 20;

/// For files that find no large one free: as many as there may be open files.
const SMALL: usize = 32 << 10;

/// Large buffers at once. One is filled while others wait or are written; the tools fill few files at a time.
const LARGE_ONES: usize = 10;

/// What O_DIRECT wants of addresses, offsets and lengths on every usual disk: the largest logical block. (open(2))
pub const ALIGNMENT: usize = 4096;

/// Bytes at an aligned address.
pub struct Buffer {
    /// As long as was ever needed; its capacity is there from the beginning, so that it never moves.
    memory: Vec<u8>,
    start: usize,
    size: usize,
}

impl Buffer {
    fn new(size: usize) -> Buffer {
        let memory: Vec<u8> = Vec::with_capacity(size + ALIGNMENT);
        let start = memory.as_ptr().addr().next_multiple_of(ALIGNMENT) - memory.as_ptr().addr();
        Buffer { memory, start, size }
    }

    /// How much it holds.
    pub fn size(&self) -> usize {
        self.size
    }

    /// So many of its bytes.
    pub fn bytes(&self, length: usize) -> &[u8] {
        &self.memory[self.start..][..length]
    }

    /// So many of its bytes from a place on, to be filled.
    pub fn room(&mut self, from: usize, length: usize) -> &mut [u8] {
        let end = self.start + from + length.min(self.size - from);
        if self.memory.len() < end {
            self.memory.resize(end, 0);
        }
        &mut self.memory[self.start + from..end]
    }
}

/// Where buffers come from and go back to.
pub struct Pool {
    free: Vec<Buffer>,
    large_ones: usize,
    /// Handed to the writer and not back yet.
    away: usize,
    returned: Receiver<Buffer>,
}

impl Pool {
    pub fn new() -> Pool {
        Pool { free: Vec::new(), large_ones: 0, away: 0, returned: channel().1 }
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
        if self.free.is_empty() && self.large_ones < LARGE_ONES {
            self.large_ones += 1;
            return Buffer::new(LARGE);
        }
        while self.free.is_empty() && self.away > 0 {
            match self.returned.recv() {
                Ok(buffer) => self.came_back(buffer),
                // The writer is gone, with what it had: whoever gives it the next piece is told so.
                Err(_) => self.away = 0,
            }
        }
        self.free.pop().unwrap_or_else(|| Buffer::new(SMALL))
    }

    /// Takes note of a buffer that the writer is given.
    pub fn went_away(&mut self, buffer: &Buffer) {
        if buffer.size() == LARGE {
            self.away += 1;
        }
    }

    /// Takes a buffer back that was not written.
    pub fn put_back(&mut self, buffer: Buffer) {
        if buffer.size() == LARGE {
            self.free.push(buffer);
        }
    }

    fn came_back(&mut self, buffer: Buffer) {
        if buffer.size() == LARGE {
            self.away -= 1;
        }
        self.put_back(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_hold_what_they_say() {
        for size in [SMALL, LARGE] {
            let mut buffer = Buffer::new(size);
            for (from, length) in [(0, 1), (1, size / 2), (0, size), (size - 1, size)] {
                let before = buffer.memory.as_ptr();
                assert_eq!(buffer.room(from, length).len(), length.min(size - from));
                assert!(buffer.bytes(1).as_ptr().addr().is_multiple_of(ALIGNMENT));
                assert_eq!(buffer.memory.as_ptr(), before);
            }
            assert_eq!((buffer.size(), buffer.bytes(size).len()), (size, size));
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

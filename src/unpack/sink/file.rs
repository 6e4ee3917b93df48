//! A member's file while it is written.

use std::cell::RefCell;
use std::io::{self, Read};
use std::rc::Rc;
use std::sync::Arc;

use super::buffer::Buffer;
use super::output::Output;
use super::target::{Piece, Target};
use super::writer::Assigned;
use crate::unpack::UnpackError;

/// Shorter pieces are written at once, unless a writer thread has other pieces of the file. In bytes.
const SMALL_PIECE: usize = 32 << 10;

/// A file that is filled in order, with seeks. Without [`SinkFile::finish`] its end is missing.
pub struct SinkFile {
    target: Arc<Target>,
    output: Rc<RefCell<Output>>,
    /// Its first `pending` bytes are still to be written, at `start`.
    buffer: Option<Buffer>,
    pending: usize,
    start: u64,
    /// The writer thread, once a part of the file was passed on.
    writer: Option<Assigned>,
    /// The final length of the file, with its holes.
    longest: u64,
    /// The highest offset so far, even if no byte follows. This counts against the free space.
    claimed: u64,
    has_holes: bool,
}

impl SinkFile {
    pub(super) fn new(target: Target, output: Rc<RefCell<Output>>) -> SinkFile {
        SinkFile {
            target: Arc::new(target),
            output,
            buffer: None,
            pending: 0,
            start: 0,
            writer: None,
            longest: 0,
            claimed: 0,
            has_holes: false,
        }
    }

    /// The offset of the next byte.
    pub fn position(&self) -> u64 {
        self.start + self.pending as u64
    }

    /// Reads up to `limit` bytes from `input`, directly behind the pending ones, and passes full buffers on to be
    /// written. Returns the bytes for a checksum, and none at the input's end.
    pub fn fill_from(&mut self, input: &mut impl Read, limit: u64) -> Result<&[u8], UnpackError> {
        self.pass_on_if_full()?;
        let mut buffer = match self.buffer.take() {
            Some(buffer) => buffer,
            None => self.output.borrow_mut().buffer()?,
        };
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX).min(self.room(&buffer));
        let read = read_some(input, buffer.room(self.pending, wanted));
        let buffer = self.buffer.insert(buffer);
        let old = self.pending;
        self.pending += read.map_err(UnpackError::Input)?;
        self.longest = self.longest.max(self.start + self.pending as u64);
        Ok(&buffer.bytes(self.pending)[old..])
    }

    /// Passes on a full buffer: other files may need it before this one continues.
    pub fn pass_on_if_full(&mut self) -> Result<(), UnpackError> {
        match &self.buffer {
            Some(buffer) if self.room(buffer) == 0 => self.flush(false),
            _ => Ok(()),
        }
    }

    /// Moves to another offset. The gap becomes a hole.
    pub fn seek(&mut self, position: u64) -> Result<(), UnpackError> {
        self.flush(false)?;
        let claimed = self.claimed.max(self.longest);
        self.output.borrow_mut().leave_hole(position.saturating_sub(claimed))?;
        self.claimed = claimed.max(position);
        self.has_holes = true;
        self.start = position;
        Ok(())
    }

    /// Skips over a hole that belongs to the file even at its end.
    pub fn skip(&mut self, hole: u64) -> Result<(), UnpackError> {
        self.seek(self.position() + hole)?;
        self.longest = self.longest.max(self.start);
        Ok(())
    }

    /// Passes on the rest, and sets the length of a file that ends in a hole.
    pub fn finish(mut self) -> Result<(), UnpackError> {
        self.flush(true)?;
        match (self.has_holes, &self.writer) {
            (false, _) => Ok(()),
            (true, None) => self.target.lengthen(self.longest),
            (true, Some(by)) => self.output.borrow_mut().writer()?.lengthen(by, self.target.clone(), self.longest),
        }
    }

    /// Up to the next multiple of the buffer's size in the file, so that all writes except the last are aligned.
    fn room(&self, buffer: &Buffer) -> usize {
        buffer.size() - (self.start % buffer.size() as u64) as usize - self.pending
    }

    fn flush(&mut self, is_last: bool) -> Result<(), UnpackError> {
        let Some(buffer) = self.buffer.take() else { return Ok(()) };
        let mut output = self.output.borrow_mut();
        let length = std::mem::take(&mut self.pending);
        output.take_room(length)?;
        let is_whole_file = is_last && self.writer.is_none() && self.start == 0;
        if length == 0 {
            output.pool.put_back(buffer);
        } else if self.writer.is_none() && length <= SMALL_PIECE {
            self.target.write_at_once(buffer.bytes(length), self.start)?;
            output.pool.put_back(buffer);
        } else {
            let size = buffer.size();
            let piece = Piece { buffer, length, at: self.start, is_whole_file };
            let writer = output.writer()?;
            let by = self.writer.get_or_insert_with(|| writer.assign());
            writer.write(by, self.target.clone(), piece)?;
            output.pool.went_away(size);
        }
        self.start += length as u64;
        Ok(())
    }
}

/// One read, repeated after interruptions.
fn read_some(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

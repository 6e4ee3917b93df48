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

/// Not worth the way to another thread, in bytes, as long as that has nothing of the file.
const SMALL_PIECE: usize = 32 << 10;

/// Filled in order, at a place that may be moved. Dropped before [`SinkFile::finish`], it lacks its end.
pub struct SinkFile {
    target: Arc<Target>,
    output: Rc<RefCell<Output>>,
    /// The first `pending` bytes in it are not written yet; they belong at `start`.
    buffer: Option<Buffer>,
    pending: usize,
    start: u64,
    /// Who writes it, once a part of it was passed on.
    writer: Option<Assigned>,
    /// One past the last byte that the file must have, holes included.
    longest: u64,
    /// The same of what was gone over, whether anything follows or not: what is counted against the room.
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

    /// Where the next byte goes.
    pub fn position(&self) -> u64 {
        self.start + self.pending as u64
    }

    /// Reads up to `limit` bytes from `input` straight behind what is pending, and passes whole buffers on to be
    /// written. Returns the bytes read for a look at them, empty at the input's end.
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

    /// Passes the buffer on where it has no more room: other files may need it before more comes of this one.
    pub fn pass_on_if_full(&mut self) -> Result<(), UnpackError> {
        match &self.buffer {
            Some(buffer) if self.room(buffer) == 0 => self.flush(false),
            _ => Ok(()),
        }
    }

    /// Puts bytes that came another way than from an input behind what is pending.
    pub fn write(&mut self, mut data: &[u8]) -> Result<(), UnpackError> {
        while !data.is_empty() {
            let limit = data.len() as u64;
            self.fill_from(&mut data, limit)?;
        }
        Ok(())
    }

    /// Goes elsewhere in the file; what lies between is a hole.
    pub fn seek(&mut self, position: u64) -> Result<(), UnpackError> {
        self.flush(false)?;
        let claimed = self.claimed.max(self.longest);
        self.output.borrow_mut().leave_hole(position.saturating_sub(claimed))?;
        self.claimed = claimed.max(position);
        self.has_holes = true;
        self.start = position;
        Ok(())
    }

    /// Goes forward over a hole that is part of the file even where nothing follows.
    pub fn skip(&mut self, hole: u64) -> Result<(), UnpackError> {
        self.seek(self.position() + hole)?;
        self.longest = self.longest.max(self.start);
        Ok(())
    }

    /// Passes on what is left, and has the file given its length where it ends in a hole.
    pub fn finish(mut self) -> Result<(), UnpackError> {
        self.flush(true)?;
        match (self.has_holes, &self.writer) {
            (false, _) => Ok(()),
            (true, None) => self.target.lengthen(self.longest),
            (true, Some(by)) => self.output.borrow_mut().writer()?.lengthen(by, self.target.clone(), self.longest),
        }
    }

    /// Up to the next multiple of the buffer's size in the file, so that all writes but the last are aligned.
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

/// One read that isn't interrupted.
pub fn read_some(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

//! Writes a file, around the page cache if the file system supports that.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, pwritev};

use super::buffer::{ALIGNMENT, Buffer};
use crate::unpack::UnpackError;

/// A file that is being written.
pub struct Target {
    file: File,
    path: PathBuf,
    /// Whether O_DIRECT is set. Only the writing thread uses it.
    is_direct: AtomicBool,
}

/// A part of a file.
pub struct Piece {
    pub buffer: Buffer,
    /// The used length of the buffer.
    pub length: usize,
    /// Its offset in the file.
    pub at: u64,
    /// Whether it is the whole file.
    pub is_whole_file: bool,
}

impl Piece {
    /// Whether the next piece can join this write: it begins where this one ends, and both are aligned.
    pub fn goes_on_with(&self, next: &Piece) -> bool {
        next.at == self.at + self.length as u64 && self.may_be_direct() && next.may_be_direct()
    }

    fn bytes(&self) -> &[u8] {
        self.buffer.bytes(self.length)
    }

    /// Small files use the page cache, which turns many of them into few writes.
    fn may_be_direct(&self) -> bool {
        self.at.is_multiple_of(ALIGNMENT as u64) && self.length >= ALIGNMENT && !self.is_whole_file
    }
}

impl Target {
    pub fn new(file: File, path: PathBuf) -> Target {
        Target { file, path, is_direct: AtomicBool::new(false) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes without the writer thread, which must have no piece of this file.
    pub fn write_at_once(&self, data: &[u8], at: u64) -> Result<(), UnpackError> {
        self.file.write_all_at(data, at).map_err(|source| self.failed(source))
    }

    /// Extends the file to this length if it is shorter, without the writer thread.
    pub fn lengthen(&self, least: u64) -> Result<(), UnpackError> {
        self.make_at_least(least).map_err(|source| self.failed(source))
    }

    /// Extends the file to this length if it is shorter.
    pub fn make_at_least(&self, least: u64) -> io::Result<()> {
        if self.file.metadata()?.len() < least { self.file.set_len(least) } else { Ok(()) }
    }

    /// Writes consecutive pieces. Resets `may_be_direct` if the file system rejects O_DIRECT.
    pub fn write(&self, run: &[Piece], may_be_direct: &mut bool) -> io::Result<()> {
        let [first, ..] = run else { return Ok(()) };
        let mut parts: Vec<&[u8]> = run.iter().map(Piece::bytes).collect();
        let mut at = first.at;
        if *may_be_direct && first.may_be_direct() {
            // All except the last are aligned in length, too.
            let odd = parts.iter().map(|part| part.len()).sum::<usize>() % ALIGNMENT;
            let last = parts.pop().unwrap_or_default();
            let (even, rest) = last.split_at(last.len() - odd);
            parts.push(even);
            match self.set_direct(true).and_then(|()| self.write_all(&parts, &mut at)) {
                Ok(()) => parts = vec![rest],
                // This file system rejects O_DIRECT, or has unknown requirements.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    *may_be_direct = false;
                    at = first.at;
                    parts.pop();
                    parts.push(last);
                }
                Err(error) => return Err(error),
            }
        }
        if parts.iter().all(|part| part.is_empty()) {
            return Ok(());
        }
        self.set_direct(false)?;
        self.write_all(&parts, &mut at)
    }

    /// Writes the parts one after the other, and advances `at`.
    fn write_all(&self, parts: &[&[u8]], at: &mut u64) -> io::Result<()> {
        let mut slices: Vec<IoSlice> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut left = &mut slices[..];
        while !left.is_empty() {
            match pwritev(&self.file, left, *at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    IoSlice::advance_slices(&mut left, count);
                    *at += count as u64;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
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

    fn failed(&self, source: io::Error) -> UnpackError {
        UnpackError::Output { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::super::buffer::Pool;
    use super::*;

    fn piece(pool: &mut Pool, byte: u8, length: usize, at: u64) -> Piece {
        let mut buffer = pool.take().unwrap();
        buffer.room(0, length).fill(byte);
        Piece { buffer, length, at, is_whole_file: false }
    }

    #[test]
    fn a_run_is_written_in_order_up_to_its_odd_end() {
        const LENGTH: usize = 16 * ALIGNMENT;
        for mut may_be_direct in [true, false] {
            let file = tempfile::NamedTempFile::new().unwrap();
            let target = Target::new(file.reopen().unwrap(), file.path().to_owned());
            let mut pool = Pool::new();
            let at = ALIGNMENT as u64;
            let run = [
                piece(&mut pool, 1, LENGTH, at),
                piece(&mut pool, 2, LENGTH, at + LENGTH as u64),
                piece(&mut pool, 3, ALIGNMENT + 5, at + 2 * LENGTH as u64),
            ];
            target.write(&run, &mut may_be_direct).unwrap();
            let expected = [(0, ALIGNMENT), (1, LENGTH), (2, LENGTH), (3, ALIGNMENT + 5)];
            let expected: Vec<u8> = expected.iter().flat_map(|(byte, count)| vec![*byte; *count]).collect();
            assert!(std::fs::read(file.path()).unwrap() == expected);
        }
    }

    #[test]
    fn adjacent_aligned_pieces_are_written_together() {
        let mut pool = Pool::new();
        let first = piece(&mut pool, 1, 2 * ALIGNMENT, 0);
        let mut goes_on = |length, at| first.goes_on_with(&piece(&mut pool, 2, length, at));
        let aligned = ALIGNMENT as u64;
        assert!(goes_on(ALIGNMENT, 2 * aligned));
        assert!(goes_on(ALIGNMENT + 1, 2 * aligned));
        assert!(!goes_on(ALIGNMENT - 1, 2 * aligned));
        assert!(!goes_on(ALIGNMENT, 3 * aligned));
        assert!(!goes_on(ALIGNMENT, 0));
        let odd = piece(&mut pool, 1, ALIGNMENT + 1, 0);
        assert!(!odd.goes_on_with(&piece(&mut pool, 2, ALIGNMENT, aligned + 1)));
    }
}

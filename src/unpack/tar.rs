//! Unpacks XtraBackup 2.x's `--stream=tar`: plain files only, complete with the two zero blocks at the end.
//!
//! The `tar` crate reads headers. Like GNU tar, it accepts an archive without its last zero blocks. Such an
//! archive was cut between two members, so the rest of the input is checked here.

use std::cell::Cell;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;

use tar::{Archive, EntryType};

use super::sink::{Open, Sink};
use super::suffix::plain_path;
use super::{Summary, UnpackError, malformed};

const BLOCK: usize = 512;

/// The most bytes between the end of one file and the beginning of the next: padding and headers. The crate reads
/// headers into memory regardless of their claimed length.
const BETWEEN_FILES: u64 = 256 << 10;

/// Unpacks to the input's end.
pub fn unpack(input: impl Read, sink: &Sink) -> Result<Summary, UnpackError> {
    let allowed = Cell::new(BETWEEN_FILES);
    let mut tail = Tail { input, zeros: 0, total: 0, allowed: &allowed };
    let mut archive = Archive::new(&mut tail);
    archive.set_ignore_zeros(true);
    let mut summary = Summary::default();
    let mut last_end = 0;
    for entry in archive.entries().map_err(fault)? {
        let mut entry = entry.map_err(fault)?;
        allowed.set(u64::MAX);
        let path = entry.path_bytes();
        let path = plain_path(path.strip_prefix(b"./").unwrap_or(&path))?;
        if entry.header().entry_type() != EntryType::Regular {
            return malformed(format!("{path} must be a plain file"));
        }
        if entry.link_name_bytes().is_some_and(|link| !link.is_empty()) {
            return malformed(format!(
                "{path} is a link to {:?}",
                std::ffi::OsStr::from_bytes(&entry.link_name_bytes().unwrap_or_default())
            ));
        }
        let mut file = sink.create(&path, Open::New)?;
        let size = entry.size();
        while file.position() < size {
            let left = size - file.position();
            if file.fill_from(&mut entry, left)?.is_empty() {
                return malformed(format!("it ends inside {path}, {left} bytes before the file's end"));
            }
        }
        file.finish()?;
        summary.ended(&path);
        last_end = (entry.raw_file_position() + size).next_multiple_of(BLOCK as u64);
        allowed.set(BETWEEN_FILES);
    }
    allowed.set(u64::MAX);
    tail.check(last_end)?;
    Ok(summary)
}

/// The crate reports a broken connection and a broken archive alike. Ours differ: they have no message from the
/// crate.
fn fault(error: io::Error) -> UnpackError {
    match error.kind() {
        io::ErrorKind::Other | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            UnpackError::Malformed(format!("tar: {error}"))
        }
        _ => UnpackError::Input(error),
    }
}

/// Passes on the allowed number of bytes, and counts the zero bytes at the end of the input.
struct Tail<'a, R> {
    input: R,
    zeros: u64,
    total: u64,
    allowed: &'a Cell<u64>,
}

impl<R: Read> Tail<'_, R> {
    /// Reads to the input's end. After `last_end` only zeros are allowed, at least two blocks.
    fn check(mut self, last_end: u64) -> Result<(), UnpackError> {
        let mut rest = [0; 8 * BLOCK];
        while self.read(&mut rest).map_err(UnpackError::Input)? > 0 {}
        match self.total.checked_sub(last_end) {
            Some(behind) if behind > self.zeros => malformed("there are data after the archive's last file"),
            Some(behind) if behind >= 2 * BLOCK as u64 && behind.is_multiple_of(BLOCK as u64) => Ok(()),
            _ => malformed("the archive ends without its two blocks of zeros"),
        }
    }
}

impl<R: Read> Read for Tail<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let allowed = self.allowed.get();
        if allowed == 0 {
            return Err(io::Error::other("a header is too long"));
        }
        let length = buffer.len().min(usize::try_from(allowed).unwrap_or(usize::MAX));
        let count = self.input.read(&mut buffer[..length])?;
        self.allowed.set(allowed - count as u64);
        let read = &buffer[..count];
        self.total += count as u64;
        match read.iter().rposition(|byte| *byte != 0) {
            Some(last) => self.zeros = (count - last - 1) as u64,
            None => self.zeros += count as u64,
        }
        Ok(count)
    }
}

//! Where members become files: made by us, below one directory, through no link, written in aligned pieces.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;

use super::path::MemberPath;
use super::{UnpackError, malformed};

/// Bytes of one write, at file offsets that are multiples of it. Of the sizes tried this one cost the least
/// processor time: much larger ones leave the cache, unaligned ones are several times dearer.
pub const PIECE: usize = 128 << 10;

const FILE_MODE: Mode = Mode::from_raw_mode(0o660);
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o770);

/// A directory that members are unpacked into.
pub struct Sink {
    path: PathBuf,
    top: OwnedFd,
}

/// How a member's file may come to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// The name must be free.
    New,
    /// What has the name goes.
    Replace,
}

impl Sink {
    pub fn new(directory: &Path) -> Result<Sink, UnpackError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = rustix::fs::open(directory, flags, Mode::empty())
            .map_err(|error| UnpackError::Output { path: directory.to_owned(), source: error.into() })?;
        Ok(Sink { path: directory.to_owned(), top })
    }

    /// Makes the file of a member, and the directories that it needs.
    pub fn create(&self, member: &MemberPath, how: Open) -> Result<SinkFile, UnpackError> {
        let directory = self.directory_of(member, true)?;
        let (_, name) = member.split();
        let new = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let flags = new | if how == Open::New { OFlags::EXCL } else { OFlags::TRUNC };
        let file = match openat(&directory, name, flags, FILE_MODE) {
            Ok(file) => File::from(file),
            Err(Errno::EXIST) => return malformed(format!("{member} comes twice")),
            Err(Errno::LOOP | Errno::ISDIR) => return malformed(format!("{member} is in the way of itself")),
            Err(error) => return Err(self.failed(member, error)),
        };
        Ok(SinkFile {
            file,
            path: self.path.join(member.as_os_str()),
            buffer: Box::default(),
            pending: 0,
            start: 0,
            longest: 0,
            has_holes: false,
        })
    }

    /// Gives a finished file another name, replacing what has it.
    pub fn rename(&self, from: &MemberPath, to: &MemberPath) -> Result<(), UnpackError> {
        let (from_directory, to_directory) = (self.directory_of(from, false)?, self.directory_of(to, true)?);
        match renameat(&from_directory, from.split().1, &to_directory, to.split().1) {
            Ok(()) => Ok(()),
            Err(Errno::NOENT) => malformed(format!("{from} is renamed but never came")),
            Err(error) => Err(self.failed(from, error)),
        }
    }

    /// Removes a finished file.
    pub fn remove(&self, member: &MemberPath) -> Result<(), UnpackError> {
        let directory = self.directory_of(member, false)?;
        match unlinkat(&directory, member.split().1, AtFlags::empty()) {
            Ok(()) => Ok(()),
            Err(Errno::NOENT) => malformed(format!("{member} is removed but never came")),
            Err(Errno::ISDIR | Errno::PERM) => malformed(format!("{member} is removed but is a directory")),
            Err(error) => Err(self.failed(member, error)),
        }
    }

    /// Opens the directory of a member step by step, so that no link on the way is followed.
    fn directory_of(&self, member: &MemberPath, make: bool) -> Result<OwnedFd, UnpackError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut directory = openat(&self.top, ".", flags, Mode::empty()).map_err(|error| self.failed(member, error))?;
        let Some(path) = member.split().0 else { return Ok(directory) };
        for component in Path::new(path) {
            if make {
                match mkdirat(&directory, component, DIRECTORY_MODE) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(self.failed(member, error)),
                }
            }
            directory = match openat(&directory, component, flags, Mode::empty()) {
                Ok(next) => next,
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    return malformed(format!("a directory of {member} is a file or a link"));
                }
                Err(Errno::NOENT) => return malformed(format!("the directory of {member} never came")),
                Err(error) => return Err(self.failed(member, error)),
            };
        }
        Ok(directory)
    }

    fn failed(&self, member: &MemberPath, error: Errno) -> UnpackError {
        UnpackError::Output { path: self.path.join(member.as_os_str()), source: error.into() }
    }
}

/// A member's file while it is written.
pub struct SinkFile {
    file: File,
    path: PathBuf,
    /// [`PIECE`] bytes, of which the first `pending` are not written yet; they belong at `start`.
    buffer: Box<[u8]>,
    pending: usize,
    start: u64,
    /// One past the last byte that the file must have, holes included.
    longest: u64,
    has_holes: bool,
}

impl SinkFile {
    /// Where the next byte goes.
    pub fn position(&self) -> u64 {
        self.start + self.pending as u64
    }

    /// Reads up to `limit` bytes from `input` straight behind what is pending, and writes whole pieces out. Returns
    /// the bytes read for a look at them, empty at the input's end.
    pub fn fill_from(&mut self, input: &mut impl Read, limit: u64) -> Result<&[u8], UnpackError> {
        if self.room() == 0 {
            self.flush()?;
        }
        if self.buffer.is_empty() {
            self.buffer = vec![0; PIECE].into();
        }
        let old = self.pending;
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX).min(self.room());
        self.pending += read_some(input, &mut self.buffer[old..old + wanted]).map_err(UnpackError::Input)?;
        self.longest = self.longest.max(self.position());
        Ok(&self.buffer[old..self.pending])
    }

    /// Goes elsewhere in the file; what lies between is a hole.
    pub fn seek(&mut self, position: u64) -> Result<(), UnpackError> {
        self.flush()?;
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

    /// Writes what is left, and gives the file its length where it ends in a hole.
    pub fn finish(mut self) -> Result<(), UnpackError> {
        self.flush()?;
        if self.has_holes && self.file.metadata().map_err(|error| self.failed(error))?.len() < self.longest {
            self.file.set_len(self.longest).map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    /// Up to the next multiple of [`PIECE`] in the file.
    fn room(&self) -> usize {
        PIECE - (self.start % PIECE as u64) as usize - self.pending
    }

    fn flush(&mut self) -> Result<(), UnpackError> {
        let pending = &self.buffer[..self.pending];
        self.file.write_all_at(pending, self.start).map_err(|error| self.failed(error))?;
        self.start += self.pending as u64;
        self.pending = 0;
        Ok(())
    }

    fn failed(&self, source: io::Error) -> UnpackError {
        UnpackError::Output { path: self.path.clone(), source }
    }
}

fn read_some(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

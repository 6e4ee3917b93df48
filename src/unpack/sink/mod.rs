//! Creates the files of members, below one directory and through no link.
//!
//! Data are received into a [`buffer`]. Separate threads write them ([`writer`]) and sync them early
//! ([`flusher`]). A fault of a thread appears at the next write, or at the latest when the sink is finished.

mod buffer;
mod fault;
mod file;
mod flusher;
mod output;
mod removal;
mod room;
mod target;
mod writer;

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, mkdirat, openat, renameat, statat};
use rustix::io::Errno;

use super::path::MemberPath;
use super::{UnpackError, malformed};
pub use buffer::OPEN_FILES;
use buffer::Pool;
pub use file::SinkFile;
use output::Output;
pub use output::Writing;
use removal::{Removal, Stopped};
use room::Room;
use target::Target;
use writer::Writer;

const FILE_MODE: Mode = Mode::from_raw_mode(0o660);
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o770);

/// The number of directories that are kept open. They are databases, which the tools copy one after the other.
const KNOWN_DIRECTORIES: usize = 16;

/// A directory that members are unpacked into.
pub struct Sink {
    path: PathBuf,
    top: Rc<OwnedFd>,
    known: RefCell<HashMap<OsString, Rc<OwnedFd>>>,
    output: Rc<RefCell<Output>>,
}

/// What to do if a member's name is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// Fail.
    New,
    /// Replace the file.
    Replace,
}

impl Sink {
    pub fn new(directory: &Path, writing: Writing) -> Result<Sink, UnpackError> {
        let failed = |source| UnpackError::Output { path: directory.to_owned(), source };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = rustix::fs::open(directory, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
        let output = Output {
            pool: Pool::new(),
            writer: None,
            writing,
            room: Room::default(),
            directory: top.try_clone().map_err(failed)?,
            path: directory.to_owned(),
        };
        Ok(Sink {
            path: directory.to_owned(),
            top: Rc::new(top),
            known: RefCell::default(),
            output: Rc::new(RefCell::new(output)),
        })
    }

    /// Creates the file of a member, with the directories that it needs.
    pub fn create(&self, member: &MemberPath, how: Open) -> Result<SinkFile, UnpackError> {
        if how == Open::Replace {
            // Pending writes of the replaced file must not land in the new one.
            self.settle()?;
        }
        let directory = self.directory_of(member)?;
        let (_, name) = member.split();
        let new = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let flags = new | if how == Open::New { OFlags::EXCL } else { OFlags::TRUNC };
        let file = match openat(&*directory, name, flags, FILE_MODE) {
            Ok(file) => File::from(file),
            Err(Errno::EXIST) => return malformed(format!("{member} comes twice")),
            Err(Errno::LOOP | Errno::ISDIR) => return malformed(format!("{member} is a directory or a link")),
            Err(error) => return Err(self.failed(member, error)),
        };
        let target = Target::new(file, self.path.join(member.as_os_str()));
        Ok(SinkFile::new(target, self.output.clone()))
    }

    /// Ends the threads, and fails if a write failed. The flusher has to end before the final sync, because the
    /// kernel reports each error only once.
    pub fn finish(self) -> Result<(), UnpackError> {
        let writer = self.output.borrow_mut().writer.take();
        writer.map_or(Ok(()), Writer::finish)
    }

    /// Waits for all pending writes, and fails if one failed.
    fn settle(&self) -> Result<(), UnpackError> {
        match &self.output.borrow().writer {
            Some(writer) => writer.settle(),
            None => Ok(()),
        }
    }

    /// Whether the name is taken.
    pub fn has(&self, member: &MemberPath) -> Result<bool, UnpackError> {
        let Some(directory) = self.directory_if_there(member)? else { return Ok(false) };
        Ok(statat(&*directory, member.split().1, AtFlags::SYMLINK_NOFOLLOW).is_ok())
    }

    /// Renames a finished file, and replaces the file with the new name. Returns whether there was a file to
    /// rename.
    pub fn rename(&self, from: &MemberPath, to: &MemberPath) -> Result<bool, UnpackError> {
        let Some(from_directory) = self.directory_if_there(from)? else { return Ok(false) };
        match statat(&*from_directory, from.split().1, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile => {
                return malformed(format!("{from} is renamed but is not a file"));
            }
            Err(Errno::NOENT) => return Ok(false),
            _ => {}
        }
        let to_directory = self.directory_of(to)?;
        match renameat(&*from_directory, from.split().1, &*to_directory, to.split().1) {
            Ok(()) => Ok(true),
            Err(Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST) => {
                malformed(format!("{from} is renamed to {to}, which is a directory"))
            }
            Err(error) => Err(self.failed(from, error)),
        }
    }

    /// Whether a matching file is in the directory of a member.
    pub fn has_beside(&self, member: &MemberPath, like: impl Fn(&MemberPath) -> bool) -> Result<bool, UnpackError> {
        let Some(directory) = self.directory_if_there(member)? else { return Ok(false) };
        let entries = Dir::read_from(&*directory).map_err(|error| self.failed(member, error))?;
        for entry in entries {
            let entry = entry.map_err(|error| self.failed(member, error))?;
            let path =
                Path::new(member.split().0.unwrap_or_default()).join(OsStr::from_bytes(entry.file_name().to_bytes()));
            if MemberPath::new(path.as_os_str().as_bytes()).is_ok_and(|path| like(&path)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes the files of a name or a pattern, if there are any, and reports each one.
    pub fn remove(
        &self,
        member: &MemberPath,
        gone: &mut dyn FnMut(MemberPath) -> Result<(), UnpackError>,
    ) -> Result<(), UnpackError> {
        let Some(directory) = self.directory_if_there(member)? else { return Ok(()) };
        // A removed file may be a known directory.
        self.known.borrow_mut().clear();
        let (place, name) = member.split();
        let mut removal = Removal { gone: &mut |path| gone(MemberPath::new(path.as_os_str().as_bytes())?) };
        let place = Path::new(place.unwrap_or_default());
        let removed = match member.prefix() {
            Some(prefix) => removal.all_beginning_with(&*directory, prefix, place),
            None => removal.whatever_is_there(&*directory, name, place),
        };
        removed.map_err(|fault| match fault {
            Stopped::System(error) => self.failed(member, error),
            Stopped::Told(error) => error,
        })
    }

    /// The directory of a member. Created if it is missing.
    fn directory_of(&self, member: &MemberPath) -> Result<Rc<OwnedFd>, UnpackError> {
        self.directory(member, true)?.ok_or_else(|| self.failed(member, Errno::NOENT))
    }

    fn directory_if_there(&self, member: &MemberPath) -> Result<Option<Rc<OwnedFd>>, UnpackError> {
        self.directory(member, false)
    }

    /// Only this sink creates and removes directories there, so an opened one stays the same.
    fn directory(&self, member: &MemberPath, make: bool) -> Result<Option<Rc<OwnedFd>>, UnpackError> {
        let Some(path) = member.split().0 else { return Ok(Some(self.top.clone())) };
        if let Some(known) = self.known.borrow().get(path) {
            return Ok(Some(known.clone()));
        }
        let Some(directory) = self.walk_to(path, member, make)?.map(Rc::new) else { return Ok(None) };
        let mut known = self.known.borrow_mut();
        if known.len() == KNOWN_DIRECTORIES {
            known.clear();
        }
        known.insert(path.to_owned(), directory.clone());
        Ok(Some(directory))
    }

    /// Opens a directory component by component, so that no link is followed.
    fn walk_to(&self, path: &OsStr, member: &MemberPath, make: bool) -> Result<Option<OwnedFd>, UnpackError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut directory =
            openat(&*self.top, ".", flags, Mode::empty()).map_err(|error| self.failed(member, error))?;
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
                Err(Errno::NOENT) if !make => return Ok(None),
                Err(error) => return Err(self.failed(member, error)),
            };
        }
        Ok(Some(directory))
    }

    fn failed(&self, member: &MemberPath, error: Errno) -> UnpackError {
        UnpackError::Output { path: self.path.join(member.as_os_str()), source: error.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_writes_of_a_replaced_file_do_not_reach_the_new_one() {
        let directory = tempfile::tempdir().unwrap();
        let sink = Sink::new(directory.path(), Writing::Cached).unwrap();
        let member = MemberPath::new(b"a").unwrap();
        let [old, new] = [vec![1; 6 << 20], vec![2; 2 << 20]];
        for _ in 0..10 {
            for content in [&old, &new] {
                let mut file = sink.create(&member, Open::Replace).unwrap();
                let mut rest = content.as_slice();
                while !rest.is_empty() {
                    let limit = rest.len() as u64;
                    file.fill_from(&mut rest, limit).unwrap();
                }
                file.finish().unwrap();
            }
            sink.settle().unwrap();
            assert!(std::fs::read(directory.path().join("a")).unwrap() == new);
        }
        sink.finish().unwrap();
    }
}

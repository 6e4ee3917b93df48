//! Whose files are: given by their descriptors, and never something that may be another's.
//!
//! A file with a second name may be anybody's, so it is given only where it is the taker's already. Links, devices and
//! directories of another mount are refused: no copy of ours has any.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid, chownat, fchown, fstat, openat};

use super::strange::SECOND_NAME;
use super::tree::{entries_of, open_in};
use super::{Spot, in_kind_words, kind_of, strange};

/// A user and a group that files are given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taker {
    /// `None`: whoever has them. Then the group counts only where it may be given.
    pub uid: Option<u32>,
    pub gid: u32,
}

impl Taker {
    /// Whether it has nothing to be given any more.
    pub fn has(self, found: &Stat) -> bool {
        self.uid.is_none_or(|uid| uid == found.st_uid) && self.gid == found.st_gid
    }

    fn ids(self) -> (Option<Uid>, Option<Gid>) {
        (self.uid.map(Uid::from_raw), Some(Gid::from_raw(self.gid)))
    }

    /// Gives a file that was just made.
    pub(super) fn give_file(self, file: impl AsFd, path: &Path) -> io::Result<()> {
        let (uid, gid) = self.ids();
        self.outcome(fchown(file, uid, gid), path)
    }

    /// A user who is not root, and not in the group, keeps the files in his own.
    fn outcome(self, given: rustix::io::Result<()>, path: &Path) -> io::Result<()> {
        match (given.map_err(io::Error::from), self.uid) {
            (Err(error), None) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            (Err(error), _) => Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
            (Ok(()), _) => Ok(()),
        }
    }

    fn give(self, directory: BorrowedFd<'_>, name: &OsStr, path: &Path) -> io::Result<()> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat(directory, name, flags, Mode::empty())?;
        let found = fstat(&opened)?;
        let refuse = |what| Err(strange(if name == "." { path.to_owned() } else { path.join(name) }, what));
        match kind_of(&found) {
            FileType::Directory => {}
            FileType::RegularFile if self.has(&found) || found.st_nlink == 1 => {}
            FileType::RegularFile => return refuse(SECOND_NAME),
            other => return refuse(in_kind_words(other)),
        }
        if self.has(&found) {
            return Ok(());
        }
        let (uid, gid) = self.ids();
        self.outcome(chownat(&opened, "", uid, gid, AtFlags::EMPTY_PATH), &path.join(name))
    }

    fn give_all_in(self, directory: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
        let list = openat(directory, ".", super::tree::LIST | OFlags::CLOEXEC, Mode::empty())?;
        for entry in entries_of(&list)? {
            if entry.is_dir() {
                let (below, path) = (open_in(&list, &entry.name, path)?, path.join(&entry.name));
                self.give_all_in(below.as_fd(), &path)?;
                self.give(below.as_fd(), OsStr::new("."), &path)?;
            } else {
                self.give(list.as_fd(), &entry.name, path)?;
            }
        }
        Ok(())
    }
}

impl Spot {
    /// Gives one directory.
    pub fn give_directory(&self, taker: Taker) -> io::Result<()> {
        let held = self.open(OFlags::PATH | OFlags::DIRECTORY)?;
        taker.give(held.as_fd(), OsStr::new("."), &self.path())
    }

    /// Gives everything below a directory, and itself.
    pub fn give_tree(&self, taker: Taker) -> io::Result<()> {
        let held = self.open(OFlags::PATH | OFlags::DIRECTORY)?;
        taker.give_all_in(held.as_fd(), &self.path())?;
        taker.give(held.as_fd(), OsStr::new("."), &self.path())
    }
}

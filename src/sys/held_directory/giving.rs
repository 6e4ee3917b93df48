//! Changes the owner of files (chown) through descriptors, and refuses files that may belong to another user.
//!
//! A file with a second name may belong to any user, so it is changed only if the new owner has it already.
//! Links, devices and directories of another mount are refused, because a copy of ours never contains them.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid, chownat, fchown, fstat, openat};

use super::strange::SECOND_NAME;
use super::tree::{entries_of, open_in};
use super::{Spot, in_kind_words, kind_of, strange};

/// The user and group that become the owners of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taker {
    /// `None` keeps the present owner. The group is then changed only where that is permitted.
    pub uid: Option<u32>,
    pub gid: u32,
}

impl Taker {
    /// Whether the file already has this owner and group.
    pub fn has(self, found: &Stat) -> bool {
        self.uid.is_none_or(|uid| uid == found.st_uid) && self.gid == found.st_gid
    }

    fn ids(self) -> (Option<Uid>, Option<Gid>) {
        (self.uid.map(Uid::from_raw), Some(Gid::from_raw(self.gid)))
    }

    /// Changes the owner of a new file.
    pub(super) fn give_file(self, file: impl AsFd, path: &Path) -> io::Result<()> {
        let (uid, gid) = self.ids();
        self.outcome(fchown(file, uid, gid), path)
    }

    /// An ordinary user outside the group keeps its own group on the files.
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
    /// Changes the owner of one directory.
    pub fn give_directory(&self, taker: Taker) -> io::Result<()> {
        let held = self.open(OFlags::PATH | OFlags::DIRECTORY)?;
        taker.give(held.as_fd(), OsStr::new("."), &self.path())
    }

    /// Changes the owner of a directory and of everything below it.
    pub fn give_tree(&self, taker: Taker) -> io::Result<()> {
        let held = self.open(OFlags::PATH | OFlags::DIRECTORY)?;
        taker.give_all_in(held.as_fd(), &self.path())?;
        taker.give(held.as_fd(), OsStr::new("."), &self.path())
    }
}

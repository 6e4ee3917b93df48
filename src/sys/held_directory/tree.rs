//! Lists, creates and removes directories and their contents, without crossing mounts.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, chmodat, linkat, mkdirat, statat, unlinkat};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::{Spot, open_below, strange};

/// An entry of a directory.
#[derive(Clone, Debug)]
pub struct Entry {
    pub name: OsString,
    pub kind: FileType,
}

impl Entry {
    pub fn is_dir(&self) -> bool {
        self.kind == FileType::Directory
    }
}

pub(super) const LIST: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

impl Spot {
    /// Lists a directory.
    pub fn entries(&self) -> io::Result<Vec<Entry>> {
        Ok(entries_of(&self.open(LIST)?)?)
    }

    /// Creates a directory. Fails if the name is taken.
    pub fn make_directory(&self, mode: u32) -> io::Result<()> {
        self.in_parent(|parent, name| mkdirat(parent, name, mode.into()))
    }

    /// Removes a file or a link, if there is one. Returns whether there was one.
    pub fn remove_if_there(&self) -> io::Result<bool> {
        if self.top.is_none() {
            return Ok(false);
        }
        match self.in_parent(|parent, name| unlinkat(parent, name, AtFlags::empty())) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes an empty directory.
    pub fn remove_directory(&self) -> io::Result<()> {
        self.in_parent(|parent, name| unlinkat(parent, name, AtFlags::REMOVEDIR))
    }

    /// Removes a directory with its contents. Returns whether there was one. Other mounts stay untouched.
    pub fn remove_tree(&self) -> io::Result<bool> {
        Ok(self.clear_if_there()? && self.remove_directory().map(|()| true)?)
    }

    /// Removes the contents of a directory. Returns whether there was one.
    pub fn clear_if_there(&self) -> io::Result<bool> {
        match self.open(LIST) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            opened => clear(&opened?, &self.path()).map(|()| true),
        }
    }

    /// Fails if another user has replaced the directory since we made it.
    pub fn ensure_own_and_empty(&self) -> io::Result<()> {
        // Some file systems report root as the owner of all files. Only root has privileges that another user
        // could misuse.
        let is_anothers = geteuid().is_root() && self.look()?.st_uid != geteuid().as_raw();
        if is_anothers || !self.entries()?.is_empty() {
            return Err(io::Error::other(format!(
                "{self} was made, and another directory or its content has taken its place"
            )));
        }
        Ok(())
    }

    /// Sets the mode of a directory.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        let held = self.open(OFlags::PATH | OFlags::DIRECTORY)?;
        Ok(chmodat(held, ".", Mode::from_raw_mode(mode), AtFlags::empty())?)
    }

    /// Makes a hard link to the file.
    pub fn link(&self, to: &Spot) -> io::Result<()> {
        let ((from, name), (there, new)) = (self.parent()?, to.parent()?);
        Ok(linkat(&from, &name, &there, &new, AtFlags::empty())?)
    }

    /// Removes the contents of the directory.
    pub fn clear(&self) -> io::Result<()> {
        clear(&self.open(LIST)?, &self.path())
    }

    /// Removes a file, a link or a directory with its contents.
    pub fn remove_whatever_it_is(&self) -> io::Result<()> {
        if self.is_dir() { self.remove_tree().map(drop) } else { self.remove_if_there().map(drop) }
    }
}

pub(super) fn entries_of(directory: &OwnedFd) -> rustix::io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(found) => FileType::from_raw_mode(found.st_mode),
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error),
            },
            kind => kind,
        };
        entries.push(Entry { name: name.to_owned(), kind });
    }
    Ok(entries)
}

/// Opens a directory within a directory. Refuses a mount point.
pub(super) fn open_in(directory: impl AsFd, name: &OsStr, path: &Path) -> io::Result<OwnedFd> {
    open_below(directory, Path::new(name), LIST, ResolveFlags::NO_XDEV).map_err(|error| match error {
        Errno::XDEV => strange(path.join(name), "a mount point"),
        error => error.into(),
    })
}

fn clear(directory: &OwnedFd, path: &Path) -> io::Result<()> {
    for entry in entries_of(directory)? {
        let removed = if entry.is_dir() {
            clear(&open_in(directory, &entry.name, path)?, &path.join(&entry.name))?;
            unlinkat(directory, &entry.name, AtFlags::REMOVEDIR)
        } else {
            unlinkat(directory, &entry.name, AtFlags::empty())
        };
        match removed {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

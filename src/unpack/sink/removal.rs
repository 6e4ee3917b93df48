//! Removes tables that the server dropped during the backup.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;

use crate::unpack::UnpackError;

/// Removes files and reports each one.
pub struct Removal<'a> {
    pub gone: &'a mut dyn FnMut(PathBuf) -> Result<(), UnpackError>,
}

/// Why a removal stopped early.
pub enum Stopped {
    System(Errno),
    /// The receiver of the reports ended it.
    Told(UnpackError),
}

impl From<Errno> for Stopped {
    fn from(error: Errno) -> Stopped {
        Stopped::System(error)
    }
}

impl Removal<'_> {
    /// Removes a file, or a directory with its contents, if there is one. Reports use `place` as the directory.
    pub fn whatever_is_there(&mut self, directory: impl AsFd, name: &OsStr, place: &Path) -> Result<(), Stopped> {
        match unlinkat(&directory, name, AtFlags::empty()) {
            Ok(()) => (self.gone)(place.join(name)).map_err(Stopped::Told),
            Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR | Errno::PERM) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                self.all_beginning_with(openat(&directory, name, flags, Mode::empty())?, b"", &place.join(name))?;
                Ok(unlinkat(&directory, name, AtFlags::REMOVEDIR)?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Removes all names with this prefix.
    pub fn all_beginning_with(&mut self, directory: impl AsFd, prefix: &[u8], place: &Path) -> Result<(), Stopped> {
        // Reading a directory may skip entries while others are removed, so it is repeated.
        while self.pass(&directory, prefix, place)? > 0 {}
        Ok(())
    }

    /// Returns the number of removed entries.
    fn pass(&mut self, directory: impl AsFd, prefix: &[u8], place: &Path) -> Result<usize, Stopped> {
        let mut removed = 0;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let below: OwnedFd = openat(&directory, ".", flags, Mode::empty())?;
        for entry in Dir::read_from(&below)? {
            let name = entry?.file_name().to_owned();
            let bytes = name.to_bytes();
            if bytes.starts_with(prefix) && !matches!(bytes, b"." | b"..") {
                self.whatever_is_there(&below, OsStr::from_bytes(bytes), place)?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

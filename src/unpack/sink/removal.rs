//! What a server dropped while it was copied goes again.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;

use crate::unpack::UnpackError;

/// Removes, and tells of each file that is gone.
pub struct Removal<'a> {
    pub gone: &'a mut dyn FnMut(PathBuf) -> Result<(), UnpackError>,
}

/// Why not all is gone.
pub enum Stopped {
    System(Errno),
    /// Who was told doesn't want to hear more.
    Told(UnpackError),
}

impl From<Errno> for Stopped {
    fn from(error: Errno) -> Stopped {
        Stopped::System(error)
    }
}

impl Removal<'_> {
    /// A file, or a directory with all that is in it; nothing, where nothing is. `place` is what is told of the directory.
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

    /// All whose names begin so.
    pub fn all_beginning_with(&mut self, directory: impl AsFd, prefix: &[u8], place: &Path) -> Result<(), Stopped> {
        // What is removed while a directory is read may have others left out.
        while self.pass(&directory, prefix, place)? > 0 {}
        Ok(())
    }

    /// Says how many it has removed.
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

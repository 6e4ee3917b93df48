//! What a server dropped while it was copied goes again.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, openat, unlinkat};
use rustix::io::{Errno, Result};

/// Removes a file, or a directory with all that is in it; nothing, where nothing is.
pub fn whatever_is_there(directory: &OwnedFd, name: &OsStr) -> Result<()> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            all_beginning_with(openat(directory, name, flags, Mode::empty())?, b"")?;
            unlinkat(directory, name, AtFlags::REMOVEDIR)
        }
        done => done,
    }
}

/// Removes all whose names begin so.
pub fn all_beginning_with(directory: impl AsFd, prefix: &[u8]) -> Result<()> {
    // What is removed while a directory is read may have others left out.
    while remove_once(&directory, prefix)? > 0 {}
    Ok(())
}

/// Says how many it has removed.
fn remove_once(directory: impl AsFd, prefix: &[u8]) -> Result<usize> {
    let mut removed = 0;
    let below = openat(&directory, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    for entry in Dir::read_from(&below)? {
        let name = entry?.file_name().to_owned();
        let bytes = name.to_bytes();
        if bytes.starts_with(prefix) && !matches!(bytes, b"." | b"..") {
            whatever_is_there(&below, OsStr::from_bytes(bytes))?;
            removed += 1;
        }
    }
    Ok(removed)
}

//! Errors about links, devices and other strange files where a plain file or directory belongs, with a remedy.

use std::io;
use std::path::PathBuf;

use rustix::fs::{FileType, Stat};

/// A file with a second name may belong to another user.
pub(super) const SECOND_NAME: &str = "a file that has another name too";

/// A file of the wrong kind in the place of a plain file or directory.
#[derive(Debug, thiserror::Error)]
#[error("{path} is {what}, where only plain files and directories of this volume belong: {remedy}")]
struct Strange {
    path: PathBuf,
    what: &'static str,
    remedy: &'static str,
}

pub(super) fn strange(path: PathBuf, what: &'static str) -> io::Error {
    let remedy = match what == SECOND_NAME {
        true => "find its other name and remove that one",
        false => "find out which process made it, and remove it",
    };
    io::Error::other(Strange { path, what, remedy })
}

/// Whether an error reports a strange file.
pub fn is_strange(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Strange>())
}

pub(super) fn in_kind_words(kind: FileType) -> &'static str {
    match kind {
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a fifo",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Directory => "a directory",
        FileType::RegularFile => "a file",
        _ => "a file of unknown kind",
    }
}

/// The type of a file.
pub fn kind_of(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

//! A program in `PATH`, and a path as a program's option.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// `--option=` and a path, which need not be text.
pub fn path_option(option: &str, path: &Path) -> OsString {
    let mut argument = OsString::from(option);
    argument.push(path);
    argument
}

/// The program that a name stands for in directories that are separated as in `PATH`.
pub fn in_path(path: &OsStr, name: &str) -> Option<PathBuf> {
    let mut candidates = std::env::split_paths(path).map(|directory| directory.join(name));
    candidates.find(|candidate| access(candidate, Access::EXEC_OK).is_ok() && candidate.is_file())
}

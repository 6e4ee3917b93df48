//! Temporary directories for the backup tool: one for each run, removed after it.

use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::model::event::warn;
use crate::sys::held_directory::Directory as _;

const PREFIX: &str = "mysqlset-backup-";

/// Makes a directory for one run below `parent`. Only our own user can read both.
pub fn directory_in(parent: &Path) -> Result<TempDir> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(parent)
        // Refuses another user's link.
        .and_then(|()| parent.spot())
        .and_then(|_| {
            tempfile::Builder::new().prefix(PREFIX).permissions(Permissions::from_mode(0o700)).tempdir_in(parent)
        })
        .with_context(|| format!("making a directory for the backup tool's temporary files in {}", parent.display()))
}

/// Removes directories left by a killed sidecar.
pub fn clean(parent: &Path) {
    let Ok(held) = parent.spot() else { return };
    for entry in held.entries().into_iter().flatten() {
        let (ours, left) = (entry.name.to_string_lossy().starts_with(PREFIX), held.join(&entry.name));
        if ours && let Err(error) = left.remove_whatever_it_is() {
            warn!(LeftoverStays, directory = %left, %error, "cannot remove a leftover directory");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn leftovers_go_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let below = parent.path().join("a/scratch");
        let made = directory_in(&below).unwrap();
        for directory in [&below, made.path()] {
            assert_eq!(std::fs::metadata(directory).unwrap().mode() & 0o777, 0o700, "{}", directory.display());
        }
        let left = directory_in(parent.path()).unwrap().keep();
        std::fs::write(left.join("redo"), "x").unwrap();
        std::fs::write(parent.path().join("other"), "x").unwrap();
        clean(parent.path());
        assert!(!left.exists() && parent.path().join("other").exists());
    }
}

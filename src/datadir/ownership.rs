//! Whose the published files are.

use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt, chown, lchown};
use std::path::Path;

use anyhow::Result;
use rustix::process::{getegid, geteuid};

use super::layout::Layout;
use crate::exit::{self, Reason};
use crate::settings::Owner;

/// The user and group that a data directory's files are given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// `None`: whoever we are.
    uid: Option<u32>,
    gid: u32,
}

impl Ownership {
    /// Run as root: `owner`, else whose the data directory is where that isn't root, else refused. Run as anyone
    /// else: that user, and the directory's group.
    pub fn decide(layout: &Layout, owner: Option<Owner>) -> Result<Ownership> {
        let directory =
            [layout.data_dir.as_path(), layout.workplace()].into_iter().find_map(|path| path.metadata().ok());
        let directory = directory.as_ref();
        if !geteuid().is_root() {
            return Ok(Ownership { uid: None, gid: directory.map_or(getegid().as_raw(), Metadata::gid) });
        }
        match (owner, directory) {
            (Some(owner), _) => Ok(Ownership { uid: Some(owner.uid), gid: owner.gid }),
            (None, Some(found)) if found.uid() != 0 => Ok(Ownership { uid: Some(found.uid()), gid: found.gid() }),
            (None, _) => Err(Reason::Owner.error(format!(
                "running as root, and {} belongs to root: say with --owner UID:GID which user the server runs as, \
                 or run as that user",
                layout.data_dir.display()
            ))),
        }
    }

    /// Gives one file or directory to the owner.
    pub fn give(self, path: &Path) -> Result<()> {
        self.outcome(path, chown(path, self.uid, Some(self.gid)))
    }

    /// Gives everything below a directory, and itself, to the owner. Links are given, never followed.
    pub fn give_tree(self, directory: &Path) -> Result<()> {
        let failed = |error| exit::disk_error(error, format!("listing {}", directory.display()));
        for entry in std::fs::read_dir(directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_type().map_err(failed)?.is_dir() {
                self.give_tree(&entry.path())?;
            } else {
                self.outcome(&entry.path(), lchown(entry.path(), self.uid, Some(self.gid)))?;
            }
        }
        self.give(directory)
    }

    /// Somebody who isn't root and not in the directory's group keeps the files in his own.
    fn outcome(self, path: &Path, result: std::io::Result<()>) -> Result<()> {
        match (result, self.uid) {
            (Ok(()), _) => Ok(()),
            (Err(error), None) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
            (Err(error), uid) => {
                let user = uid.map_or(String::new(), |uid| format!("user {uid}, "));
                Err(exit::disk_error(error, format!("giving {} to {user}group {}", path.display(), self.gid)))
            }
        }
    }
}

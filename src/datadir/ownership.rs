//! Decides the owner of the published files.

use std::path::Path;

use anyhow::Result;
use rustix::process::{getegid, geteuid};

use crate::model::exit::Reason;
use crate::sys::disk::disk_error;
use crate::sys::held_directory::{Spot, Taker};

/// For the data directory: access for the server's user and group only.
pub(super) const DIRECTORY_MODE: u32 = 0o770;

/// The user and group that get a data directory when we run as root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    /// The user's own number where no group is given.
    pub gid: u32,
}

/// The user and group that get a data directory's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ownership(Taker);

impl Ownership {
    /// As root: `owner`, else the data directory's owner if that is another user than root, else refused. As another
    /// user: that user, and the directory's group.
    /// `data_dir` is how messages name the directory, which lies at the first of `spots` that exists.
    pub fn decide(data_dir: &Path, spots: &[Spot], owner: Option<Owner>) -> Result<Ownership> {
        let directory = spots.iter().filter(|spot| spot.is_dir()).find_map(|spot| spot.look().ok());
        if !geteuid().is_root() {
            let gid = directory.map_or(getegid().as_raw(), |found| found.st_gid);
            return Ok(Ownership(Taker { uid: None, gid }));
        }
        match (owner, directory) {
            (Some(owner), _) => Ok(Ownership(Taker { uid: Some(owner.uid), gid: owner.gid })),
            (None, Some(found)) if found.st_uid != 0 => {
                Ok(Ownership(Taker { uid: Some(found.st_uid), gid: found.st_gid }))
            }
            (None, _) => Err(Reason::Owner.error(format!(
                "running as root, and {} belongs to root: name the server's user with --owner UID:GID, or run as that \
                 user",
                data_dir.display()
            ))),
        }
    }

    /// The owner of a new file, set before the file gets its name.
    pub(super) fn taker(self) -> Taker {
        self.0
    }

    /// Gives one directory to the owner.
    pub fn give(self, directory: &Spot) -> Result<()> {
        self.outcome(directory.give_directory(self.0), directory)
    }

    /// Gives a directory and everything below it to the owner. Refuses file types that copies of ours never have.
    pub fn give_tree(self, directory: &Spot) -> Result<()> {
        self.outcome(directory.give_tree(self.0), directory)
    }

    fn outcome(self, given: std::io::Result<()>, directory: &Spot) -> Result<()> {
        given.map_err(|error| {
            let user = self.0.uid.map_or(String::new(), |uid| format!("user {uid}, "));
            disk_error(error, format!("giving {directory} to {user}group {}", self.0.gid))
        })
    }
}

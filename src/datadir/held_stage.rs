//! The one stage that a start works in. It is held open from when it is made or found: somebody who puts another directory, or
//! a link, in its place gets nothing of ours, and nothing of his is taken for ours.
//!
//! Only its own user gets into it, so that what lies below cannot be swapped either, while we or our children work there. Run
//! as root, a stage that is not root's speaks for nothing: any user of the volume may have made it.

use std::io;
use std::sync::{MutexGuard, PoisonError};

use anyhow::Result;
use rustix::fs::{AtFlags, Mode, OFlags, Stat, chownat};
use rustix::process::{getegid, geteuid};

use super::layout::Layout;
use crate::sys::disk::disk_error;
use crate::sys::held::Spot;

/// For ourselves alone.
pub(super) const STAGE_MODE: u32 = 0o700;

/// The bit by which what is made in a directory has its group.
const SET_GROUP: u32 = 0o2000;

impl Layout {
    /// The directory that holds what is being received, and in the layout "beside" its journal.
    pub fn stage(&self) -> Spot {
        let mut held = self.held_stage();
        if held.is_none() {
            *held = self.find_stage().ok().flatten();
        }
        held.clone().unwrap_or_else(|| Spot::nowhere(self.named_stage().path()))
    }

    /// Refuses where nobody can say what an interrupted start has left: it may be a copy, and the set's only one.
    pub(super) fn ensure_stage_is_seen(&self) -> Result<()> {
        let mut held = self.held_stage();
        if held.is_none() {
            *held =
                self.find_stage().map_err(|error| disk_error(error, format!("looking at {}", self.named_stage())))?;
        }
        Ok(())
    }

    /// Makes an empty one, whose name is free.
    pub(super) fn make_stage(&self) -> io::Result<()> {
        self.named_stage().make_directory(STAGE_MODE)?;
        let found = self.find_stage()?.ok_or_else(|| io::Error::other("somebody else has taken its name"))?;
        found.ensure_own_and_empty()?;
        *self.held_stage() = Some(found);
        Ok(())
    }

    /// Removes it with all that is in it; says whether there was one.
    pub(super) fn remove_stage(&self) -> io::Result<bool> {
        let stage = self.stage();
        *self.held_stage() = None;
        if !stage.clear_if_there()? {
            return Ok(false);
        }
        let named = self.named_stage();
        match named.is_dir() {
            true => named.remove_directory()?,
            // What somebody has put there meanwhile.
            false => drop(named.remove_if_there()?),
        }
        Ok(true)
    }

    /// Takes one that an earlier version gave to the server's user.
    pub(super) fn adopt_stage(&self) -> io::Result<()> {
        let held = self.named_stage().open(OFlags::PATH | OFlags::DIRECTORY)?;
        Ok(chownat(&held, "", Some(geteuid()), Some(getegid()), AtFlags::EMPTY_PATH)?)
    }

    /// `None` where there is none that counts.
    fn find_stage(&self) -> io::Result<Option<Spot>> {
        let stage = match self.named_stage().held() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            held => held?,
        };
        let found = stage.look()?;
        if !counts(&found) {
            return Ok(None);
        }
        // The volume's group goes on to what is made below.
        let mode = STAGE_MODE | (found.st_mode & SET_GROUP);
        if found.st_uid == geteuid().as_raw() && found.st_mode & 0o7777 != mode {
            stage.set_mode(mode)?;
        }
        stage.entries().map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => io::Error::new(
                error.kind(),
                format!(
                    "an interrupted start of user {} has left it, and no other user may use it: run as that user or as root, or \
                     remove it",
                    found.st_uid
                ),
            ),
            _ => error,
        })?;
        stage.for_children().map(Some)
    }

    fn held_stage(&self) -> MutexGuard<'_, Option<Spot>> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether nobody but us can have written into it. A user who is not root has nothing that another could misuse.
pub(super) fn counts(found: &Stat) -> bool {
    let others = Mode::from_raw_mode(found.st_mode).intersects(Mode::WOTH);
    let group = Mode::from_raw_mode(found.st_mode).intersects(Mode::WGRP) && found.st_gid != 0;
    !geteuid().is_root() || found.st_uid == 0 && !others && !group
}

//! Holds open the one stage that a start works in, from its creation or discovery on. If somebody swaps the directory
//! for another or for a link, our files stay in the held one, and the swapped one is ignored.
//!
//! Only its own user may enter it, so the entries below are also safe from swaps while we or our children work there.
//! When we run as root, a stage of another user is ignored: any user of the volume may have made it.

use std::io;
use std::sync::{MutexGuard, PoisonError};

use anyhow::Result;
use rustix::fs::{AtFlags, Mode, OFlags, Stat, chownat};
use rustix::process::{getegid, geteuid};

use super::layout::Layout;
use crate::sys::disk::disk_error;
use crate::sys::held_directory::Spot;

/// Access for our own user only.
pub(super) const STAGE_MODE: u32 = 0o700;

/// The bit that passes a directory's group on to new entries.
const SET_GROUP: u32 = 0o2000;

impl Layout {
    /// The directory that receives a clone. In the layout "beside" it also holds the clone's journal.
    pub fn stage(&self) -> Spot {
        let mut held = self.held_stage();
        if held.is_none() {
            *held = self.find_stage().ok().flatten();
        }
        held.clone().unwrap_or_else(|| Spot::nowhere(self.named_stage().path()))
    }

    /// Refuses where the remains of an interrupted start are unreadable: they may be a copy, and the set's only one.
    pub(super) fn ensure_stage_is_seen(&self) -> Result<()> {
        let mut held = self.held_stage();
        if held.is_none() {
            *held =
                self.find_stage().map_err(|error| disk_error(error, format!("looking at {}", self.named_stage())))?;
        }
        Ok(())
    }

    /// Makes an empty stage under a free name.
    pub(super) fn make_stage(&self) -> io::Result<()> {
        self.named_stage().make_directory(STAGE_MODE)?;
        let found = self.find_stage()?.ok_or_else(|| io::Error::other("another process has taken its name"))?;
        found.ensure_own_and_empty()?;
        *self.held_stage() = Some(found);
        Ok(())
    }

    /// Removes the stage with its content. Returns whether there was one.
    pub(super) fn remove_stage(&self) -> io::Result<bool> {
        let stage = self.stage();
        *self.held_stage() = None;
        if !stage.clear_if_there()? {
            return Ok(false);
        }
        let named = self.named_stage();
        match named.is_dir() {
            true => named.remove_directory()?,
            // Something that was put there meanwhile.
            false => drop(named.remove_if_there()?),
        }
        Ok(true)
    }

    /// Takes over a stage that an earlier version gave to the server's user.
    pub(super) fn adopt_stage(&self) -> io::Result<()> {
        let held = self.named_stage().open(OFlags::PATH | OFlags::DIRECTORY)?;
        Ok(chownat(&held, "", Some(geteuid()), Some(getegid()), AtFlags::EMPTY_PATH)?)
    }

    /// Finds the stage, where one exists and counts.
    fn find_stage(&self) -> io::Result<Option<Spot>> {
        let stage = match self.named_stage().held() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            held => held?,
        };
        let found = stage.look()?;
        if !counts(&found) {
            return Ok(None);
        }
        // Entries below inherit the volume's group.
        let mode = STAGE_MODE | (found.st_mode & SET_GROUP);
        if found.st_uid == geteuid().as_raw() && found.st_mode & 0o7777 != mode {
            stage.set_mode(mode)?;
        }
        stage.entries().map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => io::Error::new(
                error.kind(),
                format!(
                    "it belongs to an interrupted start of user {}: run as that user or as root, or remove it",
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

/// Whether we alone can have written into it. For another user than root every stage counts, since only root's rights
/// are worth misusing.
pub(super) fn counts(found: &Stat) -> bool {
    let others = Mode::from_raw_mode(found.st_mode).intersects(Mode::WOTH);
    let group = Mode::from_raw_mode(found.st_mode).intersects(Mode::WGRP) && found.st_gid != 0;
    !geteuid().is_root() || found.st_uid == 0 && !others && !group
}

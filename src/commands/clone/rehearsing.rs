//! Decides whether a copy is rehearsed, and with which server program.

use anyhow::Result;

use super::job::CloneJob;
use super::methods::Methods;
use crate::clone::method::backup_tool::Prepared;
use crate::clone::rehearsal::Rehearsal;
use crate::datadir::layout::Layout;
use crate::model::event::{info, warn};
use crate::model::exit::{self, Reason};
use crate::server::scratch::Program;
use crate::settings::CloneSettings;
use crate::settings::Rehearse;
use crate::sys::disk::disk_error;
use crate::sys::held_directory::Spot;

/// Looks for a server program. Called before the first byte arrives, so that faults of the image and the configuration
/// are refused early.
pub fn plan(settings: &CloneSettings, layout: &Layout, methods: &Methods) -> Result<Option<Rehearsal>> {
    if settings.rehearsal == Rehearse::Off {
        info!(RehearsalOff, "--rehearsal off: publishing the copy without starting a server on it");
        return Ok(None);
    }
    let program = Program::find().map_err(|error| {
        if exit::reason_of(&error) == Some(Reason::Limit) {
            return error;
        }
        Reason::Rehearsal.error(format!(
            "the server program does not report its version ({error:#}): repair the image, or set --rehearsal off"
        ))
    })?;
    let Some(program) = program else {
        info!(RehearsalNoProgram, "no server program in PATH: prepare and the inventory alone prove the copy");
        return Ok(None);
    };
    if let Some(misfit) = methods.misfit(&program.version) {
        warn!(RehearsalOtherServer, "no rehearsal: the copy is for another server than the one here: {misfit}");
        return Ok(None);
    }
    if !program.can_be_isolated() {
        info!(RehearsalOldServer, server = program.version, "no rehearsal: it needs MySQL 5.7 or later");
        return Ok(None);
    }
    let scratch = Scratch::make(layout)?;
    if !scratch.has_hard_links()? {
        warn!(
            RehearsalNoHardLinks,
            "no rehearsal: the volume's file system has no hard links, and a second copy may not fit"
        );
        return Ok(None);
    }
    let rehearsal = Rehearsal::with(program)?;
    rehearsal.check_configuration(&scratch.held.way(), &settings.server_config)?;
    Ok(Some(rehearsal))
}

/// The mode of a directory for us alone.
const MODE: u32 = 0o700;

/// A short-lived directory on the volume. Making it first removes the remains of a killed start.
struct Scratch {
    named: Spot,
    held: Spot,
}

impl Scratch {
    fn make(layout: &Layout) -> Result<Scratch> {
        let named = layout.workplace().join(".mysqlset-check");
        // A umask may have changed the mode.
        let _ = named.held().and_then(|left| left.set_mode(MODE));
        let made = named
            .remove_whatever_it_is()
            .and_then(|()| named.make_directory(MODE))
            .and_then(|()| named.held())
            .and_then(|held| held.ensure_own_and_empty().map(|()| held))
            .and_then(|held| held.set_mode(MODE).map(|()| held))
            .and_then(Spot::for_children);
        let held = made.map_err(|error| disk_error(error, format!("making the directory {named}")))?;
        Ok(Scratch { named, held })
    }

    fn has_hard_links(&self) -> Result<bool> {
        let (file, link) = (self.held.join("file"), self.held.join("link"));
        file.make_file(MODE).map_err(|error| disk_error(error, format!("writing {file}")))?;
        Ok(file.link(&link).is_ok())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = self.held.clear().and_then(|()| self.named.remove_directory());
    }
}

impl CloneJob<'_> {
    /// Rehearses the copy; `None` where the rehearsal is left out.
    pub(super) fn rehearse(&self) -> Result<Option<Prepared>> {
        let (Some(rehearsal), data) = (&self.rehearsal, self.layout.staged_data().way()) else { return Ok(None) };
        if rehearsal.lacks_log(&data) {
            warn!(
                RehearsalNoLog,
                "no rehearsal: a prepare by MariaDB before 10.8 leaves no log to start on without writing"
            );
            return Ok(None);
        }
        rehearsal.run(&data, &self.settings.server_config).map(Some)
    }
}

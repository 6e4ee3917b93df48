//! Whether a copy is rehearsed, and with what.

use anyhow::Result;
use tracing::{info, warn};

use super::copying::Copying;
use super::ways::Ways;
use crate::backup_tool::Prepared;
use crate::cli::Rehearse;
use crate::exit::Reason;
use crate::own_server::Program;
use crate::rehearsal::Rehearsal;

/// Looks for a server program. Called before the first byte comes, for what is too little for it is refused then.
pub fn plan(mode: Rehearse, ways: &Ways) -> Result<Option<Rehearsal>> {
    if mode == Rehearse::Off {
        info!("--rehearsal off: no server is started on the copy before it is published");
        return Ok(None);
    }
    let program = Program::find().map_err(|error| {
        Reason::Rehearsal.error(format!(
            "the server here does not tell its version ({error:#}): repair the image, or say --rehearsal off"
        ))
    })?;
    let Some(program) = program else {
        info!("no server program in PATH: the copy is proven by prepare and by the inventory alone");
        return Ok(None);
    };
    if let Some(misfit) = ways.misfit(&program.version) {
        warn!("no rehearsal, for the server here is not the one that the copy is for: {misfit}");
        return Ok(None);
    }
    Rehearsal::with(program).map(Some)
}

impl Copying<'_> {
    /// `None` where there is no rehearsal.
    pub(super) fn rehearse(&self) -> Result<Option<Prepared>> {
        let run = |rehearsal: &Rehearsal| rehearsal.run(&self.layout.staged_data(), &self.settings.server_config);
        self.rehearsal.as_ref().map(run).transpose()
    }
}

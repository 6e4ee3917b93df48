//! From a received copy to a prepared one.

use std::time::Instant;

use anyhow::{Context, Result};
use tracing::{info, warn};

use super::copying::Copying;
use crate::backup_tool::{self, Prepared, left_files, memory};
use crate::clone_plugin::StartedCopy;
use crate::datadir::journal::{Journal, PluginCopy, State};
use crate::exit::Reason;
use crate::progress::Progress;

/// Tries to prepare one received backup: with all the memory there is to use, then with half of it.
const PREPARE_TRIES: u32 = 2;

impl Copying<'_> {
    /// Received, or interrupted while preparing → prepared. An attempt is counted before it is made: one that takes
    /// the whole container down with it counts too.
    pub(super) fn prepare(&self, journal: &mut Journal) -> Result<Prepared> {
        let by_log = || memory::for_prepare(left_files::log_bytes(&self.layout.staged_data()));
        let full = self.settings.prepare_memory.unwrap_or_else(by_log);
        let mut outcome = Prepared::Failed(
            Reason::Prepare.error("earlier starts tried to prepare the backup, and failed or were killed"),
        );
        // A tool that isn't here is no try.
        match journal.clone.as_ref().and_then(|clone| clone.plugin.as_ref()) {
            Some(_) => self.ways.needed_server().map(drop)?,
            None => self.ways.needed_tool().map(drop)?,
        }
        while journal.prepare_attempts < PREPARE_TRIES {
            let earlier = journal.prepare_attempts;
            let memory = full >> earlier;
            *journal = journal.entering(State::Preparing);
            journal.prepare_attempts += 1;
            self.write(journal)?;
            outcome = match journal.clone.as_ref().and_then(|clone| clone.plugin.clone()) {
                Some(copy) => self.prepare_copy(journal, &copy, memory)?,
                None => backup_tool::prepare(self.ways.needed_tool()?, &self.layout.staged_data(), memory, earlier)?,
            };
            match &outcome {
                Prepared::Whole => break,
                Prepared::Failed(error) => warn!("{error:#}"),
            }
        }
        Ok(outcome)
    }

    /// The same for a copy by the plugin. Its position is told by the tables that are emptied then: it is in the journal
    /// before.
    fn prepare_copy(&self, journal: &mut Journal, copy: &PluginCopy, memory: u64) -> Result<Prepared> {
        let server = self.ways.needed_server()?;
        info!(server = server.version, memory_bytes = memory, "preparing");
        let (started, progress) = (Instant::now(), Progress::of("preparing"));
        let mut running = match StartedCopy::start(server, &self.layout.staged_data(), copy, memory) {
            Ok(running) => running,
            Err(error) => return Ok(Prepared::Failed(error)),
        };
        if let Some(what) = running.what_it_lacks()? {
            // No other try changes that.
            journal.prepare_attempts = PREPARE_TRIES;
            return Ok(Prepared::Failed(Reason::Refused.error(format!("made while the copy was made: {what}"))));
        }
        let clone = journal.clone.as_mut().context("the journal says preparing, but not what")?;
        if clone.position.is_none() {
            match running.position(copy) {
                Ok(position) => clone.position = Some(position),
                Err(error) => return Ok(Prepared::Failed(Reason::NoPosition.because(error))),
            }
            self.write(journal)?;
        }
        let change = self.change_of_events();
        super::events::tell(change, &running.change_events(change)?);
        running.forget_source()?;
        running.stop()?;
        drop(progress);
        info!(seconds = started.elapsed().as_secs_f64(), "prepared");
        Ok(Prepared::Whole)
    }
}

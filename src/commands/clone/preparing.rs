//! From a received copy to a prepared one.

use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::job::Copying;
use crate::clone::method::backup_tool::{self, Attempt, Prepared, Proof, server_options};
use crate::clone::method::clone_plugin::StartedCopy;
use crate::datadir::backup_metadata;
use crate::datadir::journal::{Journal, PluginCopy, State, Unproven};
use crate::datadir::received_log::ReceivedLog;
use crate::model::event::{info, warn};
use crate::model::exit::{Reason, reason_of};
use crate::observe::progress::Progress;
use crate::sys::child;
use crate::sys::memory;
use crate::sys::stop::Noted;

/// Tries to prepare one received copy.
const PREPARE_TRIES: u32 = 2;

impl Copying<'_> {
    /// Received, or interrupted while preparing → prepared. An attempt is counted before it is made: one that takes
    /// the whole container down with it counts too.
    pub(super) fn prepare(&self, journal: &mut Journal, noted: &mut Noted) -> Result<Prepared> {
        match journal.clone.as_ref().and_then(|clone| clone.plugin.clone()) {
            Some(copy) => self.recover_copy(journal, &copy, noted),
            None => self.prepare_backup(journal, noted),
        }
    }

    fn begin_attempt(&self, journal: &mut Journal, noted: &mut Noted) -> Result<()> {
        noted.begin()?;
        *journal = journal.entering(State::Preparing);
        journal.prepare_attempts = journal.prepare_attempts.saturating_add(1);
        journal.told_to_stop = false;
        self.write(journal)
    }

    /// One that we ended ourselves, because we were told to stop, was no try, and nothing is learnt from it.
    fn note_stop(&self, journal: &mut Journal) -> Result<()> {
        if !child::are_ended() {
            return Ok(());
        }
        self.take_back(journal)?;
        bail!("told to stop while preparing")
    }

    /// The attempt that was announced says nothing of the backup, nor of the memory.
    fn take_back(&self, journal: &mut Journal) -> Result<()> {
        journal.prepare_attempts = journal.prepare_attempts.saturating_sub(1);
        journal.told_to_stop = true;
        self.write(journal)
    }

    /// Wrong keys look like damage: no tool tells the one from the other.
    fn with_keys_in_mind(&self, error: anyhow::Error) -> anyhow::Error {
        match (self.keys(), reason_of(&error)) {
            (Some(_), Some(Reason::Prepare)) => {
                Reason::Prepare.error(format!("{error:#}; with --keyring: are the keys here those of the donor?"))
            }
            _ => error,
        }
    }

    /// Once: what a failed prepare leaves is worth nothing, and another one on it may report success. One that was killed
    /// is repeated while the log is as it was received: then all of it is done again.
    fn prepare_backup(&self, journal: &mut Journal, noted: &mut Noted) -> Result<Prepared> {
        // A tool that isn't here is no try.
        let (tool, data) = (self.ways.needed_tool()?, self.layout.staged_data());
        if journal.state == State::Preparing {
            // Perhaps for its memory: where a container is killed as a whole, nobody is left to say so.
            journal.halve_memory(!journal.told_to_stop);
            if let Some(why) = self.why_not_again(journal)? {
                let why = format!("an earlier start was killed while it prepared the backup, and {why}");
                return Ok(Prepared::Failed(Reason::Prepare.error(why)));
            }
        } else {
            journal.received_log = ReceivedLog::of(&data)?;
        }
        if let Some(log) = backup_metadata::cut_aria_log(&data)? {
            let why = format!("the backup's {log} is shorter than one page: a prepare would never end");
            return Ok(Prepared::Failed(Reason::Prepare.error(why)));
        }
        // An older version may have received it.
        match server_options::rebuild(&data.way(), self.keys()) {
            Err(error) if reason_of(&error) == Some(Reason::Refused) => return Ok(Prepared::Failed(error)),
            rebuilt => rebuilt?,
        }
        let full = self.full_memory();
        loop {
            let earlier = journal.prepare_attempts.saturating_add(journal.failed_backups);
            self.begin_attempt(journal, noted)?;
            let memory = memory::halved(full, journal.memory_halvings);
            let attempt = backup_tool::prepare(tool, &data.way(), memory, earlier);
            if !matches!(attempt, Ok(Attempt::Whole(_) | Attempt::Failed(_))) {
                self.note_stop(journal)?;
            }
            if attempt.is_err() {
                // The tool did not start.
                self.take_back(journal)?;
            }
            match attempt? {
                Attempt::Whole(proof) => {
                    take_note(journal, proof);
                    return Ok(Prepared::Whole);
                }
                Attempt::Failed(error) => return Ok(Prepared::Failed(self.with_keys_in_mind(error))),
                Attempt::Killed { error, for_memory } => {
                    journal.halve_memory(for_memory);
                    if let Some(why) = self.why_not_again(journal)? {
                        return Ok(Prepared::Failed(Reason::Prepare.error(format!("{error:#}, and {why}"))));
                    }
                    warn!(PrepareAgain, "{error:#}; the received log is untouched: preparing again");
                }
            }
        }
    }

    /// What a prepare may use that nobody has halved.
    fn full_memory(&self) -> u64 {
        let by_log = || memory::for_prepare(backup_metadata::log_bytes(&self.layout.staged_data()));
        self.settings.prepare_memory.unwrap_or_else(by_log)
    }

    /// What keeps a backup from being prepared again whose prepare was killed.
    fn why_not_again(&self, journal: &Journal) -> Result<Option<&'static str>> {
        let Some(received) = &journal.received_log else {
            return Ok(Some("nothing tells whether its log is still as it was received"));
        };
        if journal.prepare_attempts >= PREPARE_TRIES {
            return Ok(Some("so was the one before it"));
        }
        let is_untouched = received.is_in(&self.layout.staged_data())?;
        Ok((!is_untouched).then_some("the received log is no longer as it was received"))
    }

    /// A copy by the plugin: the server's own recovery, which may be repeated.
    fn recover_copy(&self, journal: &mut Journal, copy: &PluginCopy, noted: &mut Noted) -> Result<Prepared> {
        self.ways.needed_server()?;
        let full = self.full_memory();
        let mut outcome = Prepared::Failed(
            Reason::Prepare.error("earlier starts tried to recover the copy, and failed or were killed"),
        );
        if journal.state == State::Preparing {
            // Perhaps for its memory, as in `prepare_backup`.
            journal.halve_memory(!journal.told_to_stop);
        }
        while journal.prepare_attempts < PREPARE_TRIES {
            let memory = memory::halved(full, journal.memory_halvings);
            self.begin_attempt(journal, noted)?;
            let tried = self.prepare_copy(journal, copy, memory);
            if !matches!(tried, Ok(Prepared::Whole)) {
                self.note_stop(journal)?;
            }
            outcome = tried?;
            match &outcome {
                Prepared::Whole => break,
                // Another try finds no more room, and the copy is thrown away to make some.
                Prepared::Failed(error) if reason_of(error) == Some(Reason::DiskFull) => break,
                Prepared::Failed(error) => {
                    journal.halve_memory(reason_of(error) == Some(Reason::Limit));
                    warn!(PrepareFailed, "{error:#}");
                }
            }
        }
        Ok(outcome)
    }

    /// One try of that. Its position is told by the tables that are emptied then: it is in the journal
    /// before.
    fn prepare_copy(&self, journal: &mut Journal, copy: &PluginCopy, memory: u64) -> Result<Prepared> {
        let server = self.ways.needed_server()?;
        info!(PrepareBegun, server = server.version, memory_bytes = memory, "preparing");
        let (started, progress) = (Instant::now(), Progress::of("preparing"));
        let mut running = match StartedCopy::start(server, &self.layout.staged_data().way(), copy, memory) {
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
                Err(error) => {
                    let error = running.explain(Reason::NoPosition.because(error));
                    let is_own = reason_of(&error) == Some(Reason::Limit);
                    return Ok(Prepared::Failed(if is_own { error } else { Reason::NoPosition.because(error) }));
                }
            }
            self.write(journal)?;
        }
        let change = self.change_of_events();
        self.announce_events(journal, running.events(change)?)?;
        running.change_events(change)?;
        running.forget_source()?;
        running.stop()?;
        self.tell_of_events(journal);
        drop(progress);
        info!(PrepareDone, seconds = started.elapsed().as_secs_f64(), "prepared");
        Ok(Prepared::Whole)
    }
}

/// What the tool's output leaves open goes with the copy: into its journal, its metrics, and to the checks to come.
fn take_note(journal: &mut Journal, proof: Proof) {
    let unproven = match proof {
        Proof::Complete => None,
        Proof::UnknownWords => Some(Unproven::PrepareWords),
        Proof::UnknownEnd => Some(Unproven::PrepareEnd),
    };
    let (Some(unproven), Some(clone)) = (unproven, &mut journal.clone) else { return };
    warn!(CopyUnproven, tool = clone.tool, "the prepare proves less than it should: {unproven}");
    if !clone.unproven.contains(&unproven) {
        clone.unproven.push(unproven);
    }
}

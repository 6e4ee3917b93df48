//! Prepares a received copy: counts the attempts, sets the memory, and decides whether a killed prepare is repeated.

use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::job::CloneJob;
use crate::clone::method::backup_tool::{self, Attempt, Prepared, Proof, prepare_memory, server_options};
use crate::clone::method::clone_plugin::RecoveredCopy;
use crate::datadir::backup_metadata;
use crate::datadir::journal::{Journal, PluginCopy, State, Unproven};
use crate::datadir::received_log::ReceivedLog;
use crate::model::event::{info, warn};
use crate::model::exit::{Reason, reason_of};
use crate::observe::progress::Progress;
use crate::sys::child;
use crate::sys::stop::Noted;

/// How often one received copy is prepared at most.
const PREPARE_TRIES: u32 = 2;

impl CloneJob<'_> {
    /// Received, or interrupted while preparing → prepared. An attempt is counted before it is made, so that one that
    /// ends the whole container counts too.
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

    /// Takes back an attempt that we ended because we were told to stop. The next one starts from the same state.
    fn note_stop(&self, journal: &mut Journal) -> Result<()> {
        if !child::are_ended() {
            return Ok(());
        }
        self.take_back(journal)?;
        bail!("told to stop while preparing")
    }

    /// Takes back the announced attempt: the backup and its memory were not its cause.
    fn take_back(&self, journal: &mut Journal) -> Result<()> {
        journal.prepare_attempts = journal.prepare_attempts.saturating_sub(1);
        journal.told_to_stop = true;
        self.write(journal)
    }

    /// Adds a hint: every tool reports wrong keys as damage.
    fn with_keys_in_mind(&self, error: anyhow::Error) -> anyhow::Error {
        match (self.keys(), reason_of(&error)) {
            (Some(_), Some(Reason::Prepare)) => {
                Reason::Prepare.error(format!("{error:#}; with --keyring, check that the keys here are the donor's"))
            }
            _ => error,
        }
    }

    /// Prepares once. The files of a failed prepare are worthless, and a repeat on them may report success. A killed
    /// prepare is repeated only while the log is as received, since then all of it is done again.
    fn prepare_backup(&self, journal: &mut Journal, noted: &mut Noted) -> Result<Prepared> {
        // Checked first, so that a missing tool leaves the attempts uncounted.
        let (tool, data) = (self.methods.needed_tool()?, self.layout.staged_data());
        if journal.state == State::Preparing {
            // Memory may be the cause: a container that is killed as a whole ends silently.
            journal.halve_memory(!journal.told_to_stop);
            if let Some(why) = self.why_not_again(journal)? {
                let why = format!("an earlier start was killed while it prepared the backup, and {why}");
                return Ok(Prepared::Failed(Reason::Prepare.error(why)));
            }
        } else {
            journal.received_log = ReceivedLog::of(&data)?;
        }
        if let Some(log) = backup_metadata::cut_aria_log(&data)? {
            let why = format!("the backup's {log} is shorter than one page, so a prepare would run for ever");
            return Ok(Prepared::Failed(Reason::Prepare.error(why)));
        }
        // An earlier version may have received it.
        match server_options::rebuild(&data.way(), self.keys()) {
            Err(error) if reason_of(&error) == Some(Reason::Refused) => return Ok(Prepared::Failed(error)),
            rebuilt => rebuilt?,
        }
        let full = self.full_memory();
        loop {
            let earlier = journal.prepare_attempts.saturating_add(journal.failed_backups);
            self.begin_attempt(journal, noted)?;
            let memory = prepare_memory::halved(full, journal.memory_halvings);
            let attempt = backup_tool::prepare(tool, &data.way(), memory, earlier);
            if !matches!(attempt, Ok(Attempt::Whole(_) | Attempt::Failed(_))) {
                self.note_stop(journal)?;
            }
            if attempt.is_err() {
                // The tool failed to start.
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

    /// The memory for a prepare before any halving.
    fn full_memory(&self) -> u64 {
        let by_log = || prepare_memory::for_prepare(backup_metadata::log_bytes(&self.layout.staged_data()));
        self.settings.prepare_memory.unwrap_or_else(by_log)
    }

    /// Why a killed prepare must not be repeated, where there is a reason.
    fn why_not_again(&self, journal: &Journal) -> Result<Option<&'static str>> {
        let Some(received) = &journal.received_log else {
            return Ok(Some("the state of its log when received is unknown"));
        };
        if journal.prepare_attempts >= PREPARE_TRIES {
            return Ok(Some("so was the attempt before it"));
        }
        let is_untouched = received.is_in(&self.layout.staged_data())?;
        Ok((!is_untouched).then_some("the received log has changed since"))
    }

    /// Prepares a copy by the plugin, through the server's own recovery. That may be repeated.
    fn recover_copy(&self, journal: &mut Journal, copy: &PluginCopy, noted: &mut Noted) -> Result<Prepared> {
        self.methods.needed_server()?;
        let full = self.full_memory();
        let mut outcome = Prepared::Failed(
            Reason::Prepare.error("earlier starts tried to recover the copy, and failed or were killed"),
        );
        if journal.state == State::Preparing {
            // Memory may be the cause, as in `prepare_backup`.
            journal.halve_memory(!journal.told_to_stop);
        }
        while journal.prepare_attempts < PREPARE_TRIES {
            let memory = prepare_memory::halved(full, journal.memory_halvings);
            self.begin_attempt(journal, noted)?;
            let tried = self.prepare_copy(journal, copy, memory);
            if !matches!(tried, Ok(Prepared::Whole)) {
                self.note_stop(journal)?;
            }
            outcome = tried?;
            match &outcome {
                Prepared::Whole => break,
                // Another attempt would run out of space too; discarding the copy frees some.
                Prepared::Failed(error) if reason_of(error) == Some(Reason::DiskFull) => break,
                Prepared::Failed(error) => {
                    journal.halve_memory(reason_of(error) == Some(Reason::Limit));
                    warn!(PrepareFailed, "{error:#}");
                }
            }
        }
        Ok(outcome)
    }

    /// One attempt at that. It records the position in the journal first, since it then empties the tables that hold
    /// it.
    fn prepare_copy(&self, journal: &mut Journal, copy: &PluginCopy, memory: u64) -> Result<Prepared> {
        let server = self.methods.needed_server()?;
        info!(PrepareBegun, server = server.version, memory_bytes = memory, "preparing");
        let (started, progress) = (Instant::now(), Progress::of("preparing"));
        let mut running = match RecoveredCopy::start(server, &self.layout.staged_data().way(), copy, memory) {
            Ok(running) => running,
            Err(error) => return Ok(Prepared::Failed(error)),
        };
        if let Some(what) = running.what_it_lacks()? {
            // Every other attempt would end the same way.
            journal.prepare_attempts = PREPARE_TRIES;
            return Ok(Prepared::Failed(Reason::Refused.error(format!("created while the copy was made: {what}"))));
        }
        let clone = journal.clone.as_mut().context("the journal is in state preparing but names no clone")?;
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

/// Records gaps in the tool's output with the copy: in its journal and metrics, and for the checks to come.
fn take_note(journal: &mut Journal, proof: Proof) {
    let unproven = match proof {
        Proof::Complete => None,
        Proof::UnknownWords => Some(Unproven::PrepareWords),
        Proof::UnknownEnd => Some(Unproven::PrepareEnd),
    };
    let (Some(unproven), Some(clone)) = (unproven, &mut journal.clone) else { return };
    warn!(CopyUnproven, tool = clone.tool, "the prepare leaves a gap in the proof: {unproven}");
    if !clone.unproven.contains(&unproven) {
        clone.unproven.push(unproven);
    }
}

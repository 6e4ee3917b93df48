//! From an empty data directory, or an interrupted clone, to a published one.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use tracing::{info, warn};

use super::ways::Ways;
use crate::backup_tool::{self, Prepared, left_files, memory};
use crate::clone_plugin::StartedCopy;
use crate::datadir::journal::{FILE_NAME, Journal, PluginCopy, State, now};
use crate::datadir::layout::Layout;
use crate::datadir::ownership::Ownership;
use crate::datadir::{publish, stage};
use crate::durable;
use crate::exit::{self, Reason};
use crate::peer::{self, Asker, Place, Questions, Site};
use crate::position::Position;
use crate::progress::Progress;
use crate::recipient::{Means, receive_from_any};
use crate::server_config;
use crate::settings::{Clone, HostPort};
use crate::wire::message::{Report, Wants};

/// Tries to prepare one received backup: with all the memory there is to use, then with half of it.
const PREPARE_TRIES: u32 = 2;

/// Backups that may turn out not to be preparable before we give up.
const BACKUPS: u32 = 2;

/// Getting a copy of another pod's data.
pub struct Copying<'a> {
    pub settings: &'a Clone,
    pub layout: &'a Layout,
    pub ownership: Ownership,
    pub ways: Ways,
    pub from: From,
    /// The journal of the data whose place the copy takes, where there are some.
    pub replacing: Option<Journal>,
}

/// Who is asked for a copy, in order, and as what.
pub struct From {
    pub donors: Vec<HostPort>,
    pub wants: Wants,
    /// The primary's sidecar, where the copy is for a replica.
    pub primary: Option<HostPort>,
}

impl From {
    /// From the pods before this one.
    pub fn for_replica(settings: &Clone) -> From {
        From { donors: settings.donors.clone(), wants: Wants::Clone, primary: Some(settings.primary.clone()) }
    }

    /// For a copy that only has to be prepared or published.
    pub fn nobody() -> From {
        From { donors: Vec::new(), wants: Wants::Recovery, primary: None }
    }
}

impl Copying<'_> {
    pub fn run(&self, interrupted: Option<Journal>) -> Result<()> {
        let mut journal = match interrupted {
            Some(journal) if journal.state == State::Publishing => return self.publish(&journal),
            Some(journal) if matches!(journal.state, State::Received | State::Preparing) => journal,
            _ => self.receive(0)?,
        };
        loop {
            let failure = match self.prepare(&mut journal)? {
                Prepared::Whole => match self.why_useless(&journal)? {
                    None => break,
                    Some(why) => Reason::NoPosition.error(why),
                },
                Prepared::Failed(error) => error,
            };
            let failed = journal.failed_backups + 1;
            if failed == BACKUPS {
                // The next start may have more memory: it begins anew, not where this one gave up. Its journal says so before
                // anything goes.
                self.write(&Journal::new(State::Receiving))?;
                stage::discard(self.layout)?;
                return Err(failure);
            }
            warn!("{failure:#}; receiving another backup");
            journal = self.receive(failed)?;
        }
        self.publish(&journal)
    }

    /// Asks the primary once more before a copy is published for a replica: its log may have been purged, and itself
    /// replaced, while the copy was made. A primary that doesn't answer says nothing against it.
    fn why_useless(&self, journal: &Journal) -> Result<Option<String>> {
        let (Some(primary), Some(clone)) = (&self.from.primary, &journal.clone) else { return Ok(None) };
        let history = self.replacing.as_ref().and_then(|old| Some(old.broken.as_ref()?.history.clone()));
        let questions = Questions { about: clone.position.clone(), history };
        let place = Place::Name(primary.clone());
        let report = match peer::ask_for_report(&self.settings.member, &self.settings.peering, &place, &questions) {
            Ok(report) => report,
            Err(silence) if self.replacing.is_some() => {
                let why =
                    format!("the primary can't be asked whether it has all that the broken replica has: {silence}");
                return Err(Reason::Refused.error(why));
            }
            Err(silence) => {
                warn!(%primary, "the primary can't be asked whether its log still begins before the clone: {silence}");
                return Ok(None);
            }
        };
        if let (Some(theirs), Some(ours)) = (&report.set_id, &journal.set_id)
            && theirs != ours
        {
            return Err(Reason::Refused.error(format!(
                "{} gave data of set identity {ours}, but the primary's are of {theirs}: it has lost its data, or the \
                 donor belongs to another set",
                clone.donor_pod
            )));
        }
        if let Some(why) = self.replacing.as_ref().and_then(|old| why_to_keep(old, &report)) {
            return Err(Reason::Refused.error(why));
        }
        let cannot = report.cannot_follow.filter(|why| !why.is_empty());
        Ok(cannot.map(|why| format!("replication can't start from the clone's position any more: {why}")))
    }

    /// Empty or interrupted → received, after so many backups that could not be prepared.
    fn receive(&self, failed_backups: u32) -> Result<Journal> {
        // What an earlier start left is worth nothing, and takes room that is asked for now.
        stage::discard(self.layout)?;
        let asker = Asker {
            member: &self.settings.member,
            peering: &self.settings.peering,
            wants: self.from.wants,
            formats: self.ways.formats(),
            site: self.site(),
            set_id: self.replacing.as_ref().and_then(|old| old.set_id.clone()),
            // Neither a lost primary nor data that are there give way to what nobody has vouched for.
            takes_unproven: self.settings.take_unproven_stream
                && self.from.wants == Wants::Clone
                && self.replacing.is_none(),
        };
        let stage = || -> Result<PathBuf> {
            if let Some(old) = &self.replacing {
                // Before the first byte: a try that fails counts too.
                let mut tried = old.clone();
                tried.cloned_again_at = Some(now());
                tried.write(&self.layout.data_dir)?;
                self.ownership.give(&self.layout.data_dir.join(FILE_NAME))?;
            }
            stage::open(self.layout, self.ownership)
        };
        let (patience, writing) = (self.settings.give_up_after, self.settings.writing);
        let means = Means { stage: &stage, writing, server: self.ways.server() };
        let received = receive_from_any(&asker, &self.from.donors, patience, &means)
            // Part of a backup is worth nothing, and may be what fills the volume.
            .inspect_err(|_| drop(stage::discard(self.layout)))?;

        let data = self.layout.staged_data();
        durable::sync_file_system(&data)
            .map_err(|error| exit::disk_error(error, format!("syncing {}", data.display())))?;
        let mut journal = Journal::new(State::Received);
        journal.failed_backups = failed_backups;
        journal.set_id = received.set_id.clone();
        journal.lineage = received.lineage.clone();
        journal.clone = Some(received.record());
        journal.cloned_again_at = self.replacing.is_some().then(now);
        self.write(&journal)?;
        Ok(journal)
    }

    fn site(&self) -> Site {
        Site {
            tool_series: self.ways.tool_series(),
            plugin_server: self.ways.server().map(|server| server.version.clone()),
            free_bytes: durable::free_bytes(self.layout.workplace()).ok(),
            page_size: server_config::page_size(&self.settings.server_config),
            keyring: self.settings.keyring,
        }
    }

    /// Received, or interrupted while preparing → prepared. An attempt is counted before it is made: one that takes
    /// the whole container down with it counts too.
    fn prepare(&self, journal: &mut Journal) -> Result<Prepared> {
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
        running.forget_source()?;
        running.stop()?;
        drop(progress);
        info!(seconds = started.elapsed().as_secs_f64(), "prepared");
        Ok(Prepared::Whole)
    }

    /// Prepared → published.
    fn publish(&self, journal: &Journal) -> Result<()> {
        let _progress = Progress::of("publishing");
        let published = publish::publish(self.layout, journal, self.ownership, self.replacing.is_some())?;
        if let Some(clone) = published.clone {
            info!(
                donor = clone.donor_pod,
                bytes = clone.bytes,
                seconds = clone.seconds,
                position = clone.position.map(|position| position.to_string()),
                "the clone is published"
            );
        }
        Ok(())
    }

    fn write(&self, journal: &Journal) -> Result<()> {
        journal.write(&self.layout.journal_of_clone())
    }
}

/// Why a broken replica's data must stay: nobody else may have what they hold.
pub fn why_to_keep(old: &Journal, primary: &Report) -> Option<String> {
    let broken = old.broken.as_ref()?;
    let has = |position: &Position| primary.applied.as_ref().and_then(|there| there.covers(position)) == Some(true);
    if primary.set_id != old.set_id {
        Some(format!("the data of {} are another set's", primary.pod))
    } else if let Some(place) = broken.reached.iter().find(|position| matches!(position, Position::BinlogFile { .. })) {
        // A source that was restored and wrote on has a log of that name too, with other transactions.
        Some(format!(
            "only GTIDs tell whether {} has all of {place}, which the broken replica holds; if it has, delete this volume",
            primary.pod
        ))
    } else if let Some(missing) = broken.reached.iter().find(|position| !has(position)) {
        Some(format!("{} does not have all of {missing}, which the broken replica holds", primary.pod))
    } else {
        match primary.unknown_history.as_deref() {
            Some("") => None,
            Some(extra) => Some(format!("{} does not have {extra}, which the broken replica holds", primary.pod)),
            None => Some(format!("{} does not say whether it has all that the broken replica holds", primary.pod)),
        }
    }
}

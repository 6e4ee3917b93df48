//! The clone job: leads from an empty data directory, or an interrupted clone, to a published one.

use std::path::PathBuf;

use anyhow::Result;

use super::methods::Methods;
use crate::clone::connection::{Asker, Site};
use crate::clone::method::backup_tool::{Prepared, server_options};
use crate::clone::recipient::{Means, receive_from_any};
use crate::clone::rehearsal::Rehearsal;
use crate::datadir::contents::Contents;
use crate::datadir::journal::{Journal, ListedBy, State, Unproven, now};
use crate::datadir::layout::{Layout, Place};
use crate::datadir::ownership::Ownership;
use crate::datadir::{configured_places, donor_leftovers, publish, stage};
use crate::model::event::{info, warn};
use crate::model::exit::{Reason, reason_of};
use crate::model::host::HostPort;
use crate::observe::progress::Progress;
use crate::protocol::message::Wants;
use crate::server::config_files::ServerConfig;
use crate::settings::CloneSettings;
use crate::sys::child;
use crate::sys::disk::disk_error;
use crate::sys::limits;
use crate::sys::stop::Noted;

/// How many incomplete backups the job accepts before it gives up.
const BACKUPS: u32 = 2;

/// The job of getting a copy of another pod's data.
pub struct CloneJob<'a> {
    pub settings: &'a CloneSettings,
    pub layout: &'a Layout,
    pub ownership: Ownership,
    pub methods: Methods,
    /// The configuration of the server that will start on the copy.
    pub config: ServerConfig,
    /// Where a copy is rehearsed.
    pub rehearsal: Option<Rehearsal>,
    pub from: CopySource,
    /// The journal of the data that the copy replaces, where there are some.
    pub replacing: Option<Journal>,
}

/// The donors in order, and the purpose of the copy.
pub struct CopySource {
    pub donors: Vec<HostPort>,
    pub wants: Wants,
    /// The primary's sidecar, where the copy is for a replica.
    pub primary: Option<HostPort>,
}

impl CopySource {
    /// From the pods before this one.
    pub fn for_replica(settings: &CloneSettings) -> CopySource {
        CopySource { donors: settings.donors.clone(), wants: Wants::Clone, primary: Some(settings.primary.clone()) }
    }

    /// For a copy that only has to be prepared or published.
    pub fn nobody() -> CopySource {
        CopySource { donors: Vec::new(), wants: Wants::Recovery, primary: None }
    }
}

impl CloneJob<'_> {
    pub fn run(&self, interrupted: Option<Journal>) -> Result<()> {
        let mut journal = match interrupted {
            Some(journal) if self.is_to_be_published(Some(&journal))? => {
                // Earlier versions removed these traces only here.
                if self.layout.staged_data().exists() {
                    donor_leftovers::remove(&self.layout.staged_data(), &self.config)?;
                }
                self.make_directories()?;
                return self.publish(&journal);
            }
            Some(journal) if self.layout.has_backup_of(&journal) => journal,
            Some(journal) if journal.state == State::Publishing => {
                warn!(
                    CloneProvenAgain,
                    "the copy was proven with other configured places, or by an earlier version: proving it again"
                );
                let journal = journal.entering(State::Prepared);
                self.write(&journal)?;
                journal
            }
            other => self.receive(0, other.map_or(0, |journal| journal.memory_halvings))?,
        };
        while let Prepared::Failed(failure) = self.make_whole(&mut journal)? {
            if child::are_ended() && journal.state == State::Prepared {
                // We may have killed a private server ourselves, so the copy may still be good.
                return Err(failure);
            }
            let (failed, halvings) = (journal.failed_backups.saturating_add(1), journal.memory_halvings);
            let reason = reason_of(&failure);
            // The CLONE plugin's copies had their memory halved after each attempt.
            let is_by_tool = journal.clone.as_ref().is_some_and(|clone| clone.plugin.is_none());
            let is_about_memory = is_by_tool && reason == Some(Reason::Limit) && limits::memory().is_some();
            // Less memory for its pages may leave enough for the rest.
            let halvings = halvings.saturating_add(u32::from(is_about_memory));
            // Another backup of the same size would run out of space again. With an empty list of donors, the next
            // start asks.
            let is_in_vain = reason == Some(Reason::DiskFull) || self.from.donors.is_empty();
            if failed >= BACKUPS || is_in_vain {
                self.clear_stage(halvings)?;
                return Err(failure);
            }
            warn!(CloneAnotherBackup, "{failure:#}; receiving another backup");
            journal = self.receive(failed, halvings)?;
        }
        self.publish(&journal)
    }

    /// Whether publishing is all that remains: the copy was proven, with the places that this configuration names. A
    /// copy that is partly in the data directory can no longer be proven.
    pub(super) fn is_to_be_published(&self, interrupted: Option<&Journal>) -> Result<bool> {
        let Some(journal) = interrupted.filter(|journal| journal.state == State::Publishing) else { return Ok(false) };
        let (staged, data, data_dir) = (self.layout.staged_data(), self.layout.data(), &self.layout.data_dir);
        let is_listed = journal.clone.as_ref().is_some_and(|clone| clone.inventory != ListedBy::Nobody);
        let (mut is_fit, mut is_in_part) = (is_listed, !staged.exists());
        if staged.exists() {
            is_fit &= journal.placed.fits(&self.config, data_dir, &staged)?;
        }
        if self.layout.place == Place::Inside {
            is_fit &= journal.placed.fits(&self.config, data_dir, &data)?;
            is_in_part |= !Contents::of(&data)?.is_empty();
        }
        match (is_fit, is_in_part, is_listed) {
            (true, ..) => Ok(true),
            (false, false, _) => Ok(false),
            (false, true, true) => Err(Reason::Refused.error(
                "an earlier start began to publish the copy, and since then the server's configuration has changed \
                 places (innodb_*_dir, innodb_undo_directory, aria_log_dir_path): restore them, and change them once \
                 the server runs, as its manual says",
            )),
            (false, true, false) => Err(Reason::HalfMade.error(
                "an earlier version of mysqlset began to publish an unproven copy: empty the data directory to clone \
                 again",
            )),
        }
    }

    /// Makes the directories that the configuration has named since the copy was proven. They are still empty.
    fn make_directories(&self) -> Result<()> {
        let (data, staged) = (self.layout.data(), self.layout.staged_data());
        let is_moved_by_names = self.layout.place == Place::Inside;
        let data_dir = &self.layout.data_dir;
        let made = configured_places::make_directories(&self.config, data_dir, &data, &staged, is_moved_by_names)?;
        made.iter().try_for_each(|directory| self.ownership.give(directory))
    }

    /// Discards the stage, so that the next start begins afresh. The journal records this before anything is removed,
    /// or is removed where a full volume has no room for it. The memory lesson stays.
    fn clear_stage(&self, memory_halvings: u32) -> Result<()> {
        let journals = self.layout.journal_of_clone();
        if !self.layout.stage().exists() && Journal::read(&journals)?.is_none() {
            return Ok(());
        }
        let noted = self.write(&Journal::receiving(memory_halvings)).inspect_err(|error| {
            warn!(CloneDiscarded, "discarding the copy without a note in the journal: {error:#}");
        });
        if noted.is_ok() && memory_halvings > 0 {
            return stage::clear(self.layout);
        }
        if noted.is_err() {
            Journal::remove(&journals)?;
        }
        stage::discard(self.layout)?;
        // The stage is empty, so the journal has lost its subject.
        Journal::remove(&journals)
    }

    /// Received, preparing or prepared → prepared, and proven whole.
    fn make_whole(&self, journal: &mut Journal) -> Result<Prepared> {
        if journal.state != State::Prepared {
            let mut noted = Noted::not_yet();
            if let Prepared::Failed(error) = self.prepare(journal, &mut noted)? {
                return Ok(Prepared::Failed(error));
            }
            // The tool's writes must be durable before the journal relies on them.
            let data = self.layout.staged_data();
            data.sync_file_system().map_err(|error| disk_error(error, format!("syncing {data}")))?;
            *journal = journal.entering(State::Prepared);
            self.write(journal)?;
        }
        self.prove(journal)
    }

    /// Empty or interrupted → received, after `failed_backups` backups that failed to prepare.
    fn receive(&self, failed_backups: u32, memory_halvings: u32) -> Result<Journal> {
        self.keys().map_or(Ok(()), server_options::check_key_files)?;
        let doubt = self.methods.doubt();
        if doubt == Some(Unproven::PrepareWords) && self.rehearsal.is_none() && self.methods.server().is_none() {
            return Err(Reason::Refused.error(format!(
                "{}, and its copies need a rehearsal before they are published: use a known version \
                 (docs/reference/servers.md), or an image with the server's program",
                Unproven::PrepareWords
            )));
        }
        // Remains of an earlier start are worthless, and take up space that is needed now.
        self.clear_stage(memory_halvings)?;
        let asker = Asker {
            member: &self.settings.member,
            peering: &self.settings.peering,
            wants: self.from.wants,
            formats: self.methods.formats(),
            site: self.site(),
            set_id: self.replacing.as_ref().and_then(|old| old.set_id.clone()),
            takes_unproven: self.takes_unproven(doubt),
        };
        let stage = || -> Result<PathBuf> {
            if let Some(old) = &self.replacing {
                // Before the first byte, so that a failed attempt counts too.
                let mut tried = old.clone();
                tried.cloned_again_at = Some(now());
                tried.write_for(&self.layout.data(), self.ownership)?;
            }
            Ok(stage::open(self.layout, self.ownership, &Journal::receiving(memory_halvings))?.way())
        };
        let (patience, writing) = (self.settings.give_up_after, self.settings.writing);
        let inventory = || self.layout.staged_inventory().way();
        let (server, keys) = (self.methods.server(), self.keys());
        let service = &self.settings.service;
        let means = Means { stage: &stage, inventory: &inventory, writing, server, service, keys };
        let received = receive_from_any(&asker, &self.from.donors, patience, &means)
            // Part of a backup is worthless, and may be what fills the volume.
            .inspect_err(|_| drop(self.clear_stage(memory_halvings)))?;

        let data = self.layout.staged_data();
        data.sync_file_system().map_err(|error| disk_error(error, format!("syncing {data}")))?;
        let mut journal = Journal::new(State::Received);
        journal.failed_backups = failed_backups;
        journal.memory_halvings = memory_halvings;
        journal.set_id = received.set_id.clone();
        journal.ordinal = Some(self.settings.member.ordinal.0);
        journal.lineage = received.lineage.clone();
        journal.clone = Some(received.record());
        journal.cloned_again_at = self.replacing.is_some().then(now);
        self.write(&journal)?;
        Ok(journal)
    }

    /// Whether to accept a legacy stream. A lost primary and existing data must never be replaced by an unproven copy.
    /// A tool whose output leaves gaps needs the donor's inventory, which a legacy stream lacks.
    fn takes_unproven(&self, doubt: Option<Unproven>) -> bool {
        let may = self.settings.take_unproven_stream && self.from.wants == Wants::Clone && self.replacing.is_none();
        if let (true, Some(doubt)) = (may, doubt) {
            warn!(
                UnprovenNotTaken,
                "ignoring --take-unproven-stream: {doubt}, so the copy needs the donor's inventory, and a tutorial's \
                 pod sends none"
            );
        }
        may && doubt.is_none()
    }

    fn site(&self) -> Site {
        Site {
            tool_series: self.methods.tool_series(),
            plugin_server: self.methods.server().map(|server| server.version.clone()),
            free_bytes: self.layout.workplace().free_bytes().ok(),
            page_size: self.config.page_size(),
            lower_case_table_names: self.config.lower_case_table_names(),
            keyring: self.settings.keyring,
        }
    }

    /// The server's configuration, where that reaches the keys of encrypted data.
    pub(super) fn keys(&self) -> Option<&ServerConfig> {
        self.settings.keyring.then_some(&self.config)
    }

    /// Prepared → published.
    fn publish(&self, journal: &Journal) -> Result<()> {
        let _progress = Progress::of("publishing");
        let published = publish::publish(self.layout, journal, self.ownership, self.replacing.is_some())?;
        if let Some(clone) = published.clone {
            info!(
                ClonePublished,
                donor = clone.donor_pod,
                bytes = clone.bytes,
                seconds = clone.seconds,
                position = clone.position.map(|position| position.to_string()),
                "the clone is published"
            );
        }
        Ok(())
    }

    pub(super) fn write(&self, journal: &Journal) -> Result<()> {
        journal.write(&self.layout.journal_of_clone())
    }
}

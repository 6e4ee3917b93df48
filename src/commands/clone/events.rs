//! Disables or enables the event scheduler's events in a prepared copy. On a replica, copied events must never run, not
//! even between its server's start and our first statement. On a recovered primary they run again.
//!
//! ```text
//!  look      on a shadow of the copy, with InnoDB read-only     no event to change: the copy stays as it is
//!  announce  the journal names the events
//!  change    a private server on the copy itself, then a sync
//!  tell      the journal stops naming them, and the proof comes
//! ```
//!
//! A killed server that wrote leaves a copy that a read-only server rejects. So a start skips the look if its journal
//! names events. Its server writes at once, and recovers the remains of the killed one.

use std::path::Path;

use anyhow::Result;
use tokio::runtime::Handle;

use super::job::CloneJob;
use crate::clone::method::backup_tool::Prepared;
use crate::clone::rehearsal::{Rehearsal, Shadow};
use crate::datadir::donor_leftovers;
use crate::datadir::journal::Journal;
use crate::model::event::{info, warn};
use crate::model::exit::{Reason, reason_of};
use crate::protocol::message::Wants;
use crate::server::events::{self, Change};
use crate::server::scratch::{Access, Configuration, Grants, LEAST_POOL, PodConfiguration, Program, Setup};
use crate::settings::Rehearse;
use crate::sys::disk::disk_error;
use crate::sys::held_directory::Spot;

/// The files that hold events where they are an ordinary table, each with its length before any event was added: Aria's
/// (MariaDB 10.4 and later) and MyISAM's.
const TABLES: [(&str, i64); 2] = [("mysql/event.MAD", 8192), ("mysql/event.MYD", 0)];

/// The server lives as long as a recovery from a killed server's writes takes, and should use little memory.
const OPTIONS: [&str; 1] = ["--performance-schema=OFF"];

/// What a copy's files reveal about its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    None,
    /// In a table of their own.
    Some,
    /// In MySQL's dictionary, which its files hide.
    Unknown,
}

impl Held {
    fn by(data: &Spot) -> Held {
        let length = |file: &str| data.join(file).look().map(|found| found.st_size);
        let mut found = TABLES.iter().filter_map(|(file, empty)| Some(length(file).ok()? > *empty)).peekable();
        match (found.peek().is_some(), found.any(|has_some| has_some)) {
            (_, true) => Held::Some,
            (true, false) => Held::None,
            (false, false) => Held::Unknown,
        }
    }
}

const LOOKING: &str = "looking for the copy's events";

const THEY_RUN: &str = "enabled events run on this pod if its event_scheduler is ON";

impl CloneJob<'_> {
    /// The change that this pod's role requires.
    pub(super) fn change_of_events(&self) -> Change {
        match self.from.wants {
            Wants::Recovery => Change::Enable,
            Wants::Clone | Wants::Report | Wants::Unknown => Change::Disable,
        }
    }

    /// Changes the events of a backup tool's copy. For a copy by the plugin, an earlier server has done so.
    pub(super) fn settle_events(&self, journal: &mut Journal) -> Result<Prepared> {
        let held = Held::by(&self.layout.staged_data());
        let is_interrupted = journal.changing_events.is_some();
        let is_by_plugin = journal.clone.as_ref().is_some_and(|clone| clone.plugin.is_some());
        if is_by_plugin || held == Held::None && !is_interrupted {
            return Ok(Prepared::Whole);
        }
        if self.settings.rehearsal == Rehearse::Off {
            warn!(
                EventsUnchangedByFlag,
                "--rehearsal off: the copy may hold events, and they stay unchanged: {THEY_RUN}"
            );
            return Ok(Prepared::Whole);
        }
        let fits = |program: &Program| self.methods.misfit(&program.version).is_none() && program.can_be_isolated();
        let program = Program::find()?.filter(fits);
        let Some(program) = program else {
            warn!(
                EventsUnchanged,
                "the copy may hold events, and this image has no server program to change them: {THEY_RUN}"
            );
            return Ok(Prepared::Whole);
        };
        match Handle::current().block_on(self.settle_events_by(&program, journal)) {
            Ok(()) => Ok(Prepared::Whole),
            // The server fails to start on this copy, or to change its events: another copy may be better.
            Err(error) if reason_of(&error) == Some(Reason::Rehearsal) => Ok(Prepared::Failed(error)),
            Err(error) => Err(error),
        }
    }

    async fn settle_events_by(&self, program: &Program, journal: &mut Journal) -> Result<()> {
        let (stage, copy) = (self.layout.stage().way(), self.layout.staged_data());
        let data = copy.way();
        let pod = PodConfiguration::read(program, &self.settings.server_config, &stage, Reason::Rehearsal)?;
        let on = |data_dir: &Path, access| Setup {
            program,
            stage: &stage,
            data_dir: data_dir.to_owned(),
            configuration: Configuration::OfPod(&pod),
            grants: Grants::Skipped,
            access,
            pool: LEAST_POOL,
            options: OPTIONS.iter().chain(program.options_on_copy()).map(Into::into).collect(),
            blame: Reason::Rehearsal,
        };
        if journal.changing_events.is_none() {
            // A server that must write in order to start cannot look either.
            let can_look = !program.lacks_log(&data);
            let names = if can_look { self.look_for_events(&data, on).await? } else { Vec::new() };
            if names.is_empty() && can_look {
                return Ok(());
            }
            self.announce_events(journal, names)?;
        }
        let mut scratch = on(&data, program.access_to_events(&data)).start(&|| true).await?;
        let (server, change) = (&mut scratch.server, self.change_of_events());
        let names = match events::concerned(server, change).await {
            Ok(names) => names,
            Err(error) => return Err(scratch.explain(error.context(LOOKING)).await),
        };
        self.announce_events(journal, names)?;
        if let Err(error) = events::change(server, change).await {
            return Err(scratch.explain(error.context("changing the copy's events")).await);
        }
        scratch.stop().await?;
        // The server has made itself a UUID.
        donor_leftovers::remove(&copy, &self.config)?;
        // The server's writes must be durable before the journal relies on them.
        copy.sync_file_system().map_err(|error| disk_error(error, format!("syncing {copy}")))?;
        self.tell_of_events(journal);
        self.write(journal)
    }

    /// Has the journal name events before they are changed. After a kill the next start finds them changed, and must
    /// still report them.
    pub(super) fn announce_events(&self, journal: &mut Journal, names: Vec<String>) -> Result<()> {
        let mut all = journal.changing_events.clone().unwrap_or_default();
        all.extend(names);
        all.sort();
        all.dedup();
        if journal.changing_events.as_ref() == Some(&all) {
            return Ok(());
        }
        journal.changing_events = Some(all);
        self.write(journal)
    }

    /// Logs which events were changed, by this start or a killed one. The next journal omits them.
    pub(super) fn tell_of_events(&self, journal: &mut Journal) {
        tell(self.change_of_events(), &journal.changing_events.take().unwrap_or_default());
    }

    /// The events that must be changed. Looks at a shadow of the copy if the rehearsal uses one.
    async fn look_for_events<'a>(&self, data: &Path, on: impl Fn(&Path, Access) -> Setup<'a>) -> Result<Vec<String>> {
        let shadow = match &self.rehearsal {
            Some(_) => {
                Rehearsal::ensure_room(data)?;
                Some(Shadow::of(data)?)
            }
            None => None,
        };
        let place = shadow.as_ref().map_or(data, Shadow::path);
        let mut scratch = on(place, Access::ReadOnly).start(&|| true).await?;
        let found = events::concerned(&mut scratch.server, self.change_of_events()).await;
        match found {
            Ok(names) => scratch.stop().await.map(|()| names),
            Err(error) => Err(scratch.explain(error.context(LOOKING)).await),
        }
    }
}

/// Logs the change. Replication disables an event on a replica even if its primary has it disabled too.
fn tell(change: Change, names: &[String]) {
    let (count, list) = (names.len(), names.join(", "));
    match change {
        _ if names.is_empty() => {}
        Change::Disable => {
            info!(EventsDisabled, count, "disabled the copied events on this replica: {list}")
        }
        Change::Enable => warn!(
            EventsEnabled,
            count,
            "enabled events on this primary that replication had disabled; some may have been disabled on the lost \
             primary by ALTER EVENT … DISABLE, so disable those again: {list}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_table_without_any_event_is_recognised_by_its_length() {
        for (files, held) in [
            (&[][..], Held::Unknown),
            (&[("event.MAD", 8192)][..], Held::None),
            (&[("event.MAD", 16384)][..], Held::Some),
            (&[("event.MYD", 0)][..], Held::None),
            (&[("event.MYD", 120)][..], Held::Some),
            (&[("event.MAD", 8192), ("event.MYD", 120)][..], Held::Some),
        ] {
            let data = tempfile::tempdir().unwrap();
            std::fs::create_dir(data.path().join("mysql")).unwrap();
            for (name, length) in files {
                std::fs::write(data.path().join("mysql").join(name), vec![0; *length]).unwrap();
            }
            assert_eq!(Held::by(&Spot::of(data.path()).unwrap()), held, "{files:?}");
        }
    }
}

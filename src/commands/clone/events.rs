//! Events of the event scheduler in a prepared copy: on a replica those that came with it never run, not even between its
//! server's start and our first statement; on a recovered primary they run again.
//!
//! ```text
//!  look      on a shadow of the copy, with InnoDB read-only     no event to change: the copy stays as it is
//!  announce  the journal names the events
//!  change    a private server on the copy itself, then a sync
//!  tell      the journal names none any more, and the proof comes
//! ```
//!
//! A killed server that wrote leaves a copy on which no read-only one can start. So a start that finds events named in the
//! journal does not look: its server writes too, and recovers what the killed one left.

use std::path::Path;

use anyhow::Result;
use tokio::runtime::Handle;

use super::job::Copying;
use crate::clone::method::backup_tool::Prepared;
use crate::clone::rehearsal::{Rehearsal, Shadow};
use crate::datadir::earlier_life;
use crate::datadir::journal::Journal;
use crate::model::event::{info, warn};
use crate::model::exit::{Reason, reason_of};
use crate::protocol::message::Wants;
use crate::server::events::{self, Change};
use crate::server::scratch::{Access, Configuration, Grants, LEAST_POOL, PodConfiguration, Program, Setup};
use crate::settings::Rehearse;
use crate::sys::disk::disk_error;
use crate::sys::held::Spot;

/// The files that hold events where they are an ordinary table, each with its length while no event was ever in it: Aria's
/// (MariaDB 10.4 and later) and MyISAM's.
const TABLES: [(&str, i64); 2] = [("mysql/event.MAD", 8192), ("mysql/event.MYD", 0)];

/// As long as a recovery from a killed server's writes takes, and no more than it needs.
const OPTIONS: [&str; 1] = ["--performance-schema=OFF"];

/// What a copy's files say of its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    None,
    /// In a table of their own.
    Some,
    /// In MySQL's dictionary: its files don't tell.
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

const THEY_RUN: &str = "those that were enabled run on this pod wherever its event_scheduler is ON";

impl Copying<'_> {
    /// What this pod's role makes of events.
    pub(super) fn change_of_events(&self) -> Change {
        match self.from.wants {
            Wants::Recovery => Change::Enable,
            Wants::Clone | Wants::Report | Wants::Unknown => Change::Disable,
        }
    }

    /// Changes the events of a backup tool's copy. One by the plugin has a server on it earlier, which does it.
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
                "--rehearsal off: the copy may hold events, and no server changes them: {THEY_RUN}"
            );
            return Ok(Prepared::Whole);
        }
        let fits = |program: &Program| self.ways.misfit(&program.version).is_none() && program.can_be_isolated();
        let program = Program::find()?.filter(fits);
        let Some(program) = program else {
            warn!(EventsUnchanged, "the copy may hold events, and no server program here can change them: {THEY_RUN}");
            return Ok(Prepared::Whole);
        };
        match Handle::current().block_on(self.settle_events_by(&program, journal)) {
            Ok(()) => Ok(Prepared::Whole),
            // The server can't start on this copy, or can't change its events: another one may be better.
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
            // A server that can't start without writing can't look either.
            let can_look = !program.lacks_log(&data);
            let names = if can_look { self.look_for_events(&data, on).await? } else { Vec::new() };
            if names.is_empty() && can_look {
                return Ok(());
            }
            self.announce_events(journal, names)?;
        }
        let mut own_server = on(&data, program.access_to_events(&data)).start(&|| true).await?;
        let (server, change) = (&mut own_server.server, self.change_of_events());
        let names = match events::concerned(server, change).await {
            Ok(names) => names,
            Err(error) => return Err(own_server.explain(error.context(LOOKING)).await),
        };
        self.announce_events(journal, names)?;
        if let Err(error) = events::change(server, change).await {
            return Err(own_server.explain(error.context("changing the copy's events")).await);
        }
        own_server.stop().await?;
        // It has made itself a UUID.
        earlier_life::remove(&copy, &self.config)?;
        // What the server wrote lasts before the journal says so.
        copy.sync_file_system().map_err(|error| disk_error(error, format!("syncing {copy}")))?;
        self.tell_of_events(journal);
        self.write(journal)
    }

    /// Has the journal name events before they are changed: after a kill the next start finds them changed, and must tell
    /// all the same.
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

    /// Says which events were changed, by this start or a killed one. The journal that is written next names none.
    pub(super) fn tell_of_events(&self, journal: &mut Journal) {
        tell(self.change_of_events(), &journal.changing_events.take().unwrap_or_default());
    }

    /// The events that must be changed. They are looked at on a shadow of the copy, as in the rehearsal, where there is one.
    async fn look_for_events<'a>(&self, data: &Path, on: impl Fn(&Path, Access) -> Setup<'a>) -> Result<Vec<String>> {
        let shadow = match &self.rehearsal {
            Some(_) => {
                Rehearsal::ensure_room(data)?;
                Some(Shadow::of(data)?)
            }
            None => None,
        };
        let place = shadow.as_ref().map_or(data, Shadow::path);
        let mut own_server = on(place, Access::ReadOnly).start(&|| true).await?;
        let found = events::concerned(&mut own_server.server, self.change_of_events()).await;
        match found {
            Ok(names) => own_server.stop().await.map(|()| names),
            Err(error) => Err(own_server.explain(error.context(LOOKING)).await),
        }
    }
}

/// Says what was changed. Replication disables an event on a replica whether its primary has it enabled or not.
fn tell(change: Change, names: &[String]) {
    let (count, list) = (names.len(), names.join(", "));
    match change {
        _ if names.is_empty() => {}
        Change::Disable => {
            info!(EventsDisabled, count, "events that came with the copy do not run on this replica: {list}")
        }
        Change::Enable => warn!(
            EventsEnabled,
            count,
            "events that replication had disabled run on this primary again; a replica can't tell which of them had been \
             disabled on the lost primary by ALTER EVENT … DISABLE, so disable those again: {list}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_never_held_an_event_is_known_by_its_length() {
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

//! `mysqlset clone`: looks at what is in the data directory, and leaves either a whole copy of another pod's data in
//! it, or what was there.
//!
//! inspect → find a donor → receive → prepare → publish; each step is announced in the journal before it is taken, so
//! that a start after any interruption goes on from there.

use std::path::PathBuf;

use anyhow::Result;
use tracing::{info, warn};

use crate::backup_tool::{self, BackupTool, Prepared, memory};
use crate::cli::OnHalfMade;
use crate::datadir::journal::{FILE_NAME, Journal, State};
use crate::datadir::layout::Layout;
use crate::datadir::lock::Lock;
use crate::datadir::ownership::Ownership;
use crate::datadir::state::{Found, look};
use crate::datadir::{publish, stage};
use crate::durable;
use crate::exit::{self, Reason};
use crate::ordinal::Role;
use crate::recipient::{Recipient, receive_from_any};
use crate::settings::Clone;

/// Tries to prepare one received backup: with all the memory there is to use, then with half of it.
const PREPARE_TRIES: u32 = 2;

/// Backups that may turn out not to be preparable before we give up.
const BACKUPS: u32 = 2;

/// Runs the command.
pub fn run(settings: &Clone) -> Result<()> {
    let layout = Layout::of(&settings.data_dir)?;
    layout.ensure_possible()?;
    let _lock = Lock::take(layout.workplace())?;
    // By what is there before anything is moved; that it can't be decided matters only where something is to be made.
    let ownership = Ownership::decide(&layout, settings.owner);
    let interrupted = match judge(settings, &layout, look(&layout)?)? {
        Next::LeaveAlone(journal) => {
            if let (Some(_), Ok(ownership)) = (journal, &ownership) {
                // A kill may have come between its writing and its giving.
                ownership.give(&layout.data_dir.join(FILE_NAME))?;
            }
            return Ok(());
        }
        Next::Make(interrupted) => interrupted,
        Next::SetAside(problem) => {
            ownership.as_ref().map_err(|error| Reason::Owner.error(format!("{error:#}")))?;
            warn!("{problem}");
            stage::set_aside(&layout)?;
            None
        }
    };
    let ownership = ownership?;
    if settings.member.role() == Role::Primary {
        stage::announce_first_start(&layout, ownership)?;
        info!(data_dir = %layout.data_dir.display(), "empty, and this is the primary: the server starts a new database");
        return Ok(());
    }
    Copying { settings, layout: &layout, ownership, tool: BackupTool::find()? }.run(interrupted)
}

/// What a look at the data directory leads to.
enum Next {
    /// Nothing; the journal, where it was one that said so.
    LeaveAlone(Option<Journal>),
    /// A database, new or cloned; where an earlier start was interrupted, its journal says how far it had come.
    Make(Option<Journal>),
    /// The same, after what is there was put out of the way, because of this.
    SetAside(String),
}

/// Leaves alone what is whole, and refuses or sets aside what cannot be trusted.
fn judge(settings: &Clone, layout: &Layout, found: Found) -> Result<Next> {
    let data_dir = layout.data_dir.display();
    match found {
        Found::Settled(journal) => {
            stage::discard(layout)?;
            info!(state = %journal.state, "{data_dir} holds what it should: nothing to do");
            Ok(Next::LeaveAlone(Some(journal)))
        }
        Found::ForeignComplete => {
            info!("{data_dir} holds a database that mysqlset did not make: taken as it is");
            Ok(Next::LeaveAlone(None))
        }
        Found::Empty => Ok(Next::Make(None)),
        Found::Interrupted(journal) if settings.member.role() == Role::Primary => Err(Reason::HalfMade.error(format!(
            "{data_dir} holds a clone that was interrupted while {}, but this is the primary, which takes none: if the \
             volume is another pod's, give it back; else empty it to start a new database",
            journal.state
        ))),
        Found::Interrupted(journal) => {
            info!(state = %journal.state, "an earlier start was interrupted");
            Ok(Next::Make(Some(journal)))
        }
        Found::ForeignHalfMade(why) => {
            let problem = format!("{data_dir} holds {why}: no server may be started on it");
            give_way(settings, Reason::HalfMade, problem)
        }
        Found::HalfInitialised => {
            let problem = format!(
                "{data_dir} was being initialised when the primary's first start was interrupted: it may be half a database"
            );
            give_way(settings, Reason::FirstStartInterrupted, problem)
        }
    }
}

fn give_way(settings: &Clone, reason: Reason, problem: String) -> Result<Next> {
    match settings.on_half_made {
        OnHalfMade::Refuse => Err(reason.error(format!(
            "{problem}; empty it, or say --on-half-made set-aside to have it renamed and go on without it"
        ))),
        OnHalfMade::SetAside => Ok(Next::SetAside(problem)),
    }
}

/// Getting a copy of another pod's data.
struct Copying<'a> {
    settings: &'a Clone,
    layout: &'a Layout,
    ownership: Ownership,
    tool: BackupTool,
}

impl Copying<'_> {
    fn run(&self, interrupted: Option<Journal>) -> Result<()> {
        let mut journal = match interrupted {
            Some(journal) if journal.state == State::Publishing => return self.publish(&journal),
            Some(journal) if matches!(journal.state, State::Received | State::Preparing) => journal,
            _ => self.receive()?,
        };
        for backup in 1.. {
            match self.prepare(&mut journal)? {
                Prepared::Whole => break,
                Prepared::Failed(error) if backup == BACKUPS => return Err(error),
                Prepared::Failed(error) => {
                    warn!("{error:#}; receiving another backup");
                    journal = self.receive()?;
                }
            }
        }
        self.publish(&journal)
    }

    /// Empty or interrupted → received.
    fn receive(&self) -> Result<Journal> {
        let recipient =
            Recipient { member: &self.settings.member, peering: &self.settings.peering, formats: self.tool.formats() };
        let stage = || -> Result<PathBuf> { stage::open(self.layout, self.ownership) };
        let received = receive_from_any(&recipient, &self.settings.donors, self.settings.give_up_after, &stage)
            // Part of a backup is worth nothing, and may be what fills the volume.
            .inspect_err(|_| drop(stage::discard(self.layout)))?;

        let data = self.layout.staged_data();
        durable::sync_file_system(&data)
            .map_err(|error| exit::disk_error(error, format!("syncing {}", data.display())))?;
        let mut journal = Journal::new(State::Received);
        journal.set_id = received.set_id.clone();
        journal.clone = Some(received.record());
        self.write(&journal)?;
        Ok(journal)
    }

    /// Received, or interrupted while preparing → prepared. An attempt is counted before it is made: one that takes
    /// the whole container down with it counts too.
    fn prepare(&self, journal: &mut Journal) -> Result<Prepared> {
        let full = self.settings.prepare_memory.unwrap_or_else(memory::for_prepare);
        let mut outcome = Prepared::Failed(
            Reason::Prepare.error("earlier starts tried to prepare the backup, and failed or were killed"),
        );
        while journal.prepare_attempts < PREPARE_TRIES {
            let memory = full >> journal.prepare_attempts;
            *journal = journal.entering(State::Preparing);
            journal.prepare_attempts += 1;
            self.write(journal)?;
            outcome = backup_tool::prepare(&self.tool, &self.layout.staged_data(), memory)?;
            match &outcome {
                Prepared::Whole => break,
                Prepared::Failed(error) => warn!("{error:#}"),
            }
        }
        Ok(outcome)
    }

    /// Prepared → published.
    fn publish(&self, journal: &Journal) -> Result<()> {
        let published = publish::publish(self.layout, journal, self.ownership)?;
        if let Some(clone) = published.clone {
            info!(
                donor = clone.donor_pod,
                bytes = clone.bytes,
                seconds = clone.seconds,
                position = %clone.position,
                "the clone is published"
            );
        }
        Ok(())
    }

    fn write(&self, journal: &Journal) -> Result<()> {
        journal.write(&self.layout.journal_of_clone())
    }
}

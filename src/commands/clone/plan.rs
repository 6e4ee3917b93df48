//! What is to become of a data directory that was found in some state.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::owner;
use super::primary_report::ask_primary;
use crate::datadir::contents::Contents;
use crate::datadir::journal::{Journal, State, now};
use crate::datadir::layout::{Layout, Place};
use crate::datadir::publish;
use crate::datadir::stage;
use crate::datadir::state::Found;
use crate::model::event::{info, warn};
use crate::model::exit::Reason;
use crate::model::ordinal::Role;
use crate::server::config_files::ServerConfig;
use crate::settings::CloneSettings;
use crate::settings::{OnBrokenReplica, OnHalfMade, OnLostPrimary};

/// Between two times that a replica's data are replaced.
const LEAST_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// What a look at the data directory leads to.
pub enum Next {
    /// Nothing; the journal, where it was one that said so.
    LeaveAlone(Option<Journal>),
    /// A database, new or cloned; where an earlier start was interrupted, its journal says how far it had come.
    Make(Option<Journal>),
    /// A clone in the place of a replica's data whose replication is broken; what is there stays until it is whole.
    Replace(Box<Journal>),
    /// The same as making, after what is there was put out of the way, because of this.
    SetAside(String),
}

/// Leaves alone what is whole, and refuses or sets aside what cannot be trusted.
pub fn judge(settings: &CloneSettings, layout: &Layout, found: Found) -> Result<Next> {
    let data_dir = layout.data_dir.display();
    match found {
        Found::Settled(journal) => {
            let journal = owner::claim(
                &settings.member,
                layout,
                journal,
                || ask_primary(settings),
                || base_of_logs(&ServerConfig::read(&settings.server_config, None)?),
            )?;
            if may_be_replaced(settings, layout, &journal) {
                return Ok(Next::Replace(Box::new(journal)));
            }
            if let Err(error) = stage::discard(layout) {
                warn!(StageStays, "what an earlier start left cannot be removed: {error:#}");
            }
            info!(DataComplete, state = %journal.state, "{data_dir} holds what it should: nothing to do");
            Ok(Next::LeaveAlone(Some(journal)))
        }
        Found::ForeignComplete => {
            info!(DataAdopted, "{data_dir} holds a database that mysqlset did not make: taken as it is");
            Ok(Next::LeaveAlone(None))
        }
        Found::Empty => Ok(Next::Make(None)),
        Found::Announced => {
            // Nothing was made of it; and what is made now says so itself.
            Journal::remove(&layout.data())?;
            Ok(Next::Make(None))
        }
        // Nothing is staged: it only remembers how much memory was too much for an earlier prepare.
        Found::Interrupted(journal) if journal.state != State::Publishing && !layout.staged_data().exists() => {
            Ok(Next::Make(Some(Journal::receiving(journal.memory_halvings))))
        }
        Found::Interrupted(journal)
            if journal.state == State::Publishing
                && let Some(name) = publish::missing(layout, &journal) =>
        {
            if layout.place == Place::Inside && !Contents::of(&layout.data())?.is_empty() {
                return Err(Reason::HalfMade.error(format!(
                    "{data_dir} holds a copy that was being published, and {name} is gone since: empty the directory, the names \
                     with a dot first too, to clone again"
                )));
            }
            warn!(CopyPartGone, "a copy was being published, and {name} is gone since: cloning again");
            Ok(Next::Make(Some(Journal::receiving(0))))
        }
        Found::Interrupted(journal)
            if settings.member.role() == Role::Primary && settings.on_lost_primary != OnLostPrimary::Recover =>
        {
            Err(Reason::HalfMade.error(format!(
                "{data_dir} holds a clone that was interrupted while {}, but this is the primary: if it was being \
                 recovered, say --on-lost-primary recover to go on; if the volume is another pod's, give it back; else \
                 empty it",
                journal.state
            )))
        }
        Found::Interrupted(journal) => {
            info!(CloneResumed, state = %journal.state, "an earlier start was interrupted");
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

/// Whether a replica's data give way to a new clone: where they are broken, where the user says so, where one rename can
/// do it, and not again soon: a primary that breaks its replicas must not make them copy it over and over.
fn may_be_replaced(settings: &CloneSettings, layout: &Layout, journal: &Journal) -> bool {
    let Some(broken) = &journal.broken else { return false };
    if settings.member.role() == Role::Primary || settings.on_broken_replica == OnBrokenReplica::Keep {
        return false;
    }
    let refuse = |why: &str| {
        warn!(
            CloneAgainRefused,
            "replication is broken ({}): {}; not cloned again: {why}",
            broken.why.name(),
            broken.text
        );
        false
    };
    if !broken.why.is_mended_by_clone() {
        return refuse(broken.why.remedy());
    }
    // One that is still to come is a clock's that was wrong.
    let age = journal.cloned_again_at.and_then(|at| now().checked_sub(at));
    if layout.place == Place::Inside {
        return refuse(
            "the data directory is a volume's root or a mount point, so that a clone can't be made beside it",
        );
    }
    let is_under_way = layout.stage().exists();
    if !is_under_way && age.is_some_and(|seconds| seconds < LEAST_AGE.as_secs()) {
        return refuse("it was less than a day ago; delete the volume to have it cloned all the same");
    }
    true
}

/// What the names of this pod's binary logs begin with: as `log_bin` says, else the host's name, in whose namespace we are too.
fn base_of_logs(config: &ServerConfig) -> Result<String> {
    let configured = config.get("log_bin").map(Path::new).and_then(Path::file_name);
    if let Some(name) = configured {
        return Ok(name.to_string_lossy().into_owned());
    }
    let host = hostname::get().context("asking the machine for its hostname")?;
    Ok(format!("{}-bin", host.to_string_lossy().split('.').next().unwrap_or_default()))
}

fn give_way(settings: &CloneSettings, reason: Reason, problem: String) -> Result<Next> {
    match settings.on_half_made {
        OnHalfMade::Refuse => Err(reason.error(format!(
            "{problem}; empty it, or say --on-half-made set-aside to have it renamed and go on without it"
        ))),
        OnHalfMade::SetAside => Ok(Next::SetAside(problem)),
    }
}

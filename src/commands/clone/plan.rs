//! Decides what becomes of a data directory in each state.

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
use crate::datadir::whole_or_half::Found;
use crate::model::event::{info, warn};
use crate::model::exit::Reason;
use crate::model::ordinal::Role;
use crate::server::config_files::ServerConfig;
use crate::settings::CloneSettings;
use crate::settings::{OnBrokenReplica, OnHalfMade, OnLostPrimary};

/// The least time between two replacements of a replica's data.
const LEAST_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// The decision after a look at the data directory.
pub enum Next {
    /// Do nothing. Carries the journal, where one led to this.
    LeaveAlone(Option<Journal>),
    /// Make a database, new or cloned. The journal of an interrupted start records its progress.
    Make(Option<Journal>),
    /// Replace the data of a replica with broken replication. They stay until the clone is whole.
    Replace(Box<Journal>),
    /// Set the data aside for this reason, then make a database.
    SetAside(String),
}

/// Leaves whole data alone, and refuses or sets aside untrusted data.
pub fn next_step(settings: &CloneSettings, layout: &Layout, found: Found) -> Result<Next> {
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
                warn!(StageStays, "cannot remove the remains of an earlier start: {error:#}");
            }
            info!(DataComplete, state = %journal.state, "{data_dir} holds a complete database: nothing to do");
            Ok(Next::LeaveAlone(Some(journal)))
        }
        Found::ForeignComplete => {
            info!(DataAdopted, "{data_dir} holds a database from outside mysqlset: adopted as it is");
            Ok(Next::LeaveAlone(None))
        }
        Found::Empty => Ok(Next::Make(None)),
        Found::Announced => {
            // The announced start made nothing, and a new one will announce itself.
            Journal::remove(&layout.data())?;
            Ok(Next::Make(None))
        }
        // The stage is empty: the journal only records how much memory was too much for an earlier prepare.
        Found::Interrupted(journal) if journal.state != State::Publishing && !layout.staged_data().exists() => {
            Ok(Next::Make(Some(Journal::receiving(journal.memory_halvings))))
        }
        Found::Interrupted(journal)
            if journal.state == State::Publishing
                && let Some(name) = publish::missing(layout, &journal) =>
        {
            if layout.place == Place::Inside && !Contents::of(&layout.data())?.is_empty() {
                return Err(Reason::HalfMade.error(format!(
                    "{data_dir} holds a partly published copy, and its part {name} has disappeared: empty the \
                     directory, including names that begin with a dot, to clone again"
                )));
            }
            warn!(CopyPartGone, "a copy was being published, and its part {name} has disappeared: cloning again");
            Ok(Next::Make(Some(Journal::receiving(0))))
        }
        Found::Interrupted(journal)
            if settings.member.role() == Role::Primary && settings.on_lost_primary != OnLostPrimary::Recover =>
        {
            Err(Reason::HalfMade.error(format!(
                "{data_dir} holds a clone that was interrupted while {}, but this is the primary: to continue its \
                 recovery, set --on-lost-primary recover; if the volume belongs to another pod, return it; else empty \
                 it",
                journal.state
            )))
        }
        Found::Interrupted(journal) => {
            info!(CloneResumed, state = %journal.state, "resuming an interrupted clone");
            Ok(Next::Make(Some(journal)))
        }
        Found::ForeignHalfMade(why) => {
            let problem = format!("{data_dir} holds {why}: a server must not start on it");
            give_way(settings, Reason::HalfMade, problem)
        }
        Found::HalfInitialised => {
            let problem = format!(
                "{data_dir} was being initialised when the primary's first start was interrupted: it may hold half a \
                 database"
            );
            give_way(settings, Reason::FirstStartInterrupted, problem)
        }
    }
}

/// Whether a new clone may replace a replica's data. The data must be broken, the user must allow it, and one rename
/// must suffice. It also waits a day in between: a primary that breaks its replicas must not make them copy it over and
/// over.
fn may_be_replaced(settings: &CloneSettings, layout: &Layout, journal: &Journal) -> bool {
    let Some(broken) = &journal.broken else { return false };
    if settings.member.role() == Role::Primary || settings.on_broken_replica == OnBrokenReplica::Keep {
        return false;
    }
    let refuse = |why: &str| {
        warn!(CloneAgainRefused, "replication is broken ({}): {}; keeping the data: {why}", broken.why, broken.text);
        false
    };
    if !broken.why.is_mended_by_clone() {
        return refuse(broken.why.remedy());
    }
    // A time in the future comes from a wrong clock.
    let age = journal.cloned_again_at.and_then(|at| now().checked_sub(at));
    if layout.place == Place::Inside {
        return refuse(
            "the data directory is a volume's root or a mount point, so there is no place for a clone beside it",
        );
    }
    let is_under_way = layout.stage().exists();
    if !is_under_way && age.is_some_and(|seconds| seconds < LEAST_AGE.as_secs()) {
        return refuse("they were cloned less than a day ago; delete the volume to clone again all the same");
    }
    true
}

/// The base name of this pod's binary logs: from `log_bin`, else from the host's name, whose namespace we share.
fn base_of_logs(config: &ServerConfig) -> Result<String> {
    let configured = config.get("log_bin").map(Path::new).and_then(Path::file_name);
    if let Some(name) = configured {
        return Ok(name.to_string_lossy().into_owned());
    }
    let host = hostname::get().context("reading the hostname")?;
    Ok(format!("{}-bin", host.to_string_lossy().split('.').next().unwrap_or_default()))
}

fn give_way(settings: &CloneSettings, reason: Reason, problem: String) -> Result<Next> {
    match settings.on_half_made {
        OnHalfMade::Refuse => Err(reason.error(format!(
            "{problem}; empty it, or set --on-half-made set-aside to rename it and continue without it"
        ))),
        OnHalfMade::SetAside => Ok(Next::SetAside(problem)),
    }
}

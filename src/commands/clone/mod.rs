//! `mysqlset clone`: inspects the data directory, and leaves either a whole copy of another pod's data in it, or the
//! data that were there.
//!
//! The steps are: inspect → find a donor → receive → prepare → publish. The journal announces each step before it is
//! taken, so that a start after any interruption continues from there.

mod events;
mod inventory_comparison;
mod job;
mod logs_of_pod;
mod methods;
mod outdated;
mod owner;
mod plan;
mod preparing;
mod primary_report;
mod proving;
mod rehearsing;

use anyhow::Result;

use crate::clone::connection::{self, Questions};
use crate::datadir::contents::Contents;
use crate::datadir::journal::{Journal, State};
use crate::datadir::layout::Layout;
use crate::datadir::lock::Lock;
use crate::datadir::ownership::Ownership;
use crate::datadir::whole_or_half::look;
use crate::datadir::{configured_places, publish, stage};
use crate::model::event::{info, warn};
use crate::model::exit::{self, Reason};
use crate::model::host::HostPort;
use crate::model::ordinal::Role;
use crate::primary_loss::LossCheck;
use crate::protocol::message::Wants;
use crate::server::config_files::ServerConfig;
use crate::settings::CloneSettings;
use crate::settings::OnLostPrimary;
use crate::sys::child;
use crate::sys::limits;
use job::{CloneJob, CopySource};
use methods::Methods;
use plan::{Next, next_step};

/// Runs the command.
pub fn run(settings: &CloneSettings) -> Result<()> {
    let layout = Layout::of(&settings.data_dir)?;
    layout.ensure_possible()?;
    let _lock = Lock::take(layout.workplace())?;
    stage::remove_impostor(&layout)?;
    // Decided by what is there before anything is moved. A failure matters only once something is to be made.
    let ownership = layout.ownership(settings.owner);
    name_storages_entries(&layout)?;
    let found = look(&layout, || ServerConfig::read(&settings.server_config, None))?;
    let interrupted = match next_step(settings, &layout, found)? {
        Next::LeaveAlone(journal) => {
            if let (Some(journal), Ok(ownership)) = (journal, &ownership) {
                // Earlier versions set the owner after the name, and may have been killed in between. On a full volume
                // the server must still start, so a failure is only logged.
                if let Err(error) = journal.ensure_given(&layout.data(), *ownership) {
                    warn!(JournalNotGiven, "the journal stays with another user: {error:#}");
                }
            }
            return Ok(());
        }
        Next::Make(interrupted) => interrupted,
        Next::Replace(old) => return replace(settings, &layout, ownership?, *old),
        Next::SetAside(problem) => {
            ownership.as_ref().map_err(|error| Reason::Owner.error(format!("{error:#}")))?;
            warn!(DataSetAside, "{problem}");
            stage::set_aside(&layout)?;
            None
        }
    };
    let ownership = ownership?;
    let from = match settings.member.role() {
        Role::Replica => CopySource::for_replica(settings),
        Role::Primary if interrupted.as_ref().is_some_and(Journal::has_whole_backup) => CopySource::nobody(),
        Role::Primary => match plan_for_primary(settings)? {
            Plan::NewDatabase => {
                stage::announce_first_start(&layout, ownership)?;
                info!(
                    DataNew,
                    data_dir = %layout.data_dir.display(),
                    "the data directory is empty and this is the primary: the server starts a new database"
                );
                return Ok(());
            }
            Plan::Recover(donors) => CopySource { donors, wants: Wants::Recovery, primary: None },
        },
    };
    limits::ensure_room().map_err(|none| Reason::Limit.because(none))?;
    let methods = Methods::find(settings.peering.method)?;
    let config = config(settings, &methods)?;
    // Checked before existing files are touched: once the setting is corrected, a good copy is still useful.
    configured_places::check(&config, &layout.data_dir)?;
    let rehearsal = None;
    let mut job = CloneJob { settings, layout: &layout, ownership, methods, config, rehearsal, from, replacing: None };
    if !job.is_to_be_published(interrupted.as_ref())? {
        job.rehearsal = rehearsing::plan(settings, &layout, &job.methods)?;
    }
    job.run(interrupted)
}

/// Logs entries that belong to the storage and are never touched.
fn name_storages_entries(layout: &Layout) -> Result<()> {
    let data = layout.data();
    if !data.exists() {
        return Ok(());
    }
    let contents = Contents::of(&data)?;
    let names: Vec<&str> = contents.storages_names().collect();
    if !names.is_empty() {
        let names = names.join(", ");
        info!(
            StoragesEntries,
            data_dir = %layout.data_dir.display(),
            %names,
            "ignoring the storage's own entries in the data directory"
        );
    }
    Ok(())
}

/// Replaces a broken replica's data by a clone. If that fails, its data stay as they are, and the pod starts with them
/// and reports the fault.
fn replace(settings: &CloneSettings, layout: &Layout, ownership: Ownership, old: Journal) -> Result<()> {
    let interrupted = Journal::read(&layout.stage())?
        .filter(|journal| journal.state != State::Publishing || publish::missing(layout, journal).is_none());
    if let Some(why) = why_to_keep_now(settings, &old) {
        warn!(CloneAgainNotNeeded, "keeping the broken replica's data: {why}");
        return stage::discard(layout);
    }
    let replace = || -> Result<()> {
        limits::ensure_room().map_err(|none| Reason::Limit.because(none))?;
        let (methods, from) = (Methods::find(settings.peering.method)?, CopySource::for_replica(settings));
        let config = config(settings, &methods)?;
        configured_places::check(&config, &layout.data_dir)?;
        let rehearsal = rehearsing::plan(settings, layout, &methods)?;
        let job = CloneJob { settings, layout, ownership, methods, config, rehearsal, from, replacing: Some(old) };
        job.run(interrupted)
    };
    replace().or_else(|error| {
        if child::are_ended() {
            // Told to stop: the next start continues with the staged copy.
            return Err(error);
        }
        warn!(CloneAgainFailed, "cannot clone the broken replica again this time: {error:#}");
        let keeps = exit::reason_of(&error) == Some(Reason::Limit)
            && Journal::read(&layout.stage())?.is_some_and(|journal| layout.has_backup_of(&journal));
        if keeps { Ok(()) } else { stage::discard(layout) }
    })
}

/// The configuration that the server will use, as read by the programs here.
fn config(settings: &CloneSettings, methods: &Methods) -> Result<ServerConfig> {
    ServerConfig::read(&settings.server_config, methods.series().as_deref())
}

fn why_to_keep_now(settings: &CloneSettings, old: &Journal) -> Option<String> {
    let questions = Questions { about: None, history: old.broken.as_ref().map(|broken| broken.history.clone()) };
    match connection::ask_primary(&settings.member, &settings.peering, &settings.primary, &questions) {
        Ok(report) => outdated::why_to_keep(old, &report),
        Err(silence) => Some(format!("the primary does not report whether it has everything in these data: {silence}")),
    }
}

/// The plan for an empty primary.
enum Plan {
    NewDatabase,
    /// A clone from one of these.
    Recover(Vec<HostPort>),
}

/// A new database, unless the set has data elsewhere or may have.
fn plan_for_primary(settings: &CloneSettings) -> Result<Plan> {
    let check = LossCheck {
        member: &settings.member,
        peering: &settings.peering,
        service: &settings.service,
        port: settings.clone_port,
    };
    let found = check.look_around();
    let words = match (found.are_empty(), settings.set_has_data) {
        (true, false) => return Ok(Plan::NewDatabase),
        (true, true) => "the set has data (--set-has-data), and no other pod exists".to_owned(),
        (false, _) => found.in_words(),
    };
    let lost = |why: String| Err(Reason::PrimaryLost.error(why));
    match settings.on_lost_primary {
        OnLostPrimary::Refuse => lost(format!(
            "the volume of {} is empty, but {words}. A new database beside the old one would split the set. Return the \
             volume; or start a replica and set --on-lost-primary recover to clone from the most advanced replica \
             (from another with --donor); or set --on-lost-primary start-anew to begin without these data",
            settings.member
        )),
        OnLostPrimary::StartAnew => {
            warn!(PrimaryStartedAnew, "--on-lost-primary start-anew: making a new database, although {words}");
            Ok(Plan::NewDatabase)
        }
        OnLostPrimary::Recover if !settings.donors.is_empty() => {
            warn!(
                PrimaryRecoveredFromDonor,
                "the primary has lost its data: recovering it from --donor; found: {words}"
            );
            Ok(Plan::Recover(settings.donors.clone()))
        }
        OnLostPrimary::Recover => match found.most_advanced(settings.clone_port) {
            Ok((donor, position)) => {
                warn!(
                    PrimaryRecoveredFromBest,
                    %donor, %position,
                    "the primary has lost its data: recovering it from the most advanced replica; later commits that \
                     reached no replica are lost, and their number is unknown; found: {words}"
                );
                Ok(Plan::Recover(vec![donor]))
            }
            Err(why) => lost(format!(
                "the volume of {} is empty, and no replica can be chosen to recover from: {why}. Wait for the replicas, \
                 or name one with --donor",
                settings.member
            )),
        },
    }
}

//! Keeps the local server's replication set up. At each start of the server it compares the journal with the server,
//! corrects the differences and starts replication. Then it watches the server until the connection is lost.
//!
//! Every step is checked by looking at its result. So a sidecar that was killed anywhere in between starts here again,
//! and so does one whose server restarted.

mod broken;
mod fatal_error;
mod fault;
mod first_start;
mod held_back;
mod own_login;
mod primary;
mod primary_identity;
mod refused;
mod replica;
mod server_id;
mod source;
mod source_password;
mod tutorial_primary;
mod unacknowledged;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::time::sleep;

use crate::accounts::Accounts;
use crate::datadir::journal::{ApplierFault, Journal, State, Why};
use crate::model::event::{error, info, warn};
use crate::model::ordinal::Role;
use crate::observe::status::Status;
use crate::server::status::ReplicationStatus;
use crate::server::trouble::{Recurring, Trouble};
use crate::server::{Server, TurnedAway, replication_status};
use crate::settings::Sidecar;
use fault::Change;
use first_start::FirstStart;
use own_login::OwnLogin;
use refused::Refused;
use source::SourceWatch;
use unacknowledged::Unacknowledged;

/// Between two looks at a server that answers, or at one that has been silent for long.
const PERIOD: Duration = Duration::from_millis(500);

/// The same while the server may be starting, since others wait for it.
const EAGER_PERIOD: Duration = Duration::from_millis(100);

/// How long the eager period lasts after the server was lost or the sidecar started.
const EAGER_FOR: Duration = Duration::from_secs(60);

/// How long after its first answer a server may still be starting its replication.
const STARTING: Duration = Duration::from_secs(5);

/// A server's uptime is the difference of two whole seconds of its clock.
const UPTIME_TOLERANCE: Duration = Duration::from_secs(2);

/// Watches the local server for ever.
pub async fn keep(settings: Arc<Sidecar>, status: Arc<Status>) -> Infallible {
    let mut keeper = Keeper {
        source: SourceWatch::new(settings.clone()),
        accounts: Accounts::new(settings.clone()),
        settings,
        status,
        last_answer: None,
        trouble: Recurring::default(),
        replicated: false,
        first_start: FirstStart::default(),
        own_login: OwnLogin::default(),
        refused: Refused::default(),
        unacknowledged: Unacknowledged::default(),
    };
    let mut away_since = Instant::now();
    loop {
        let last_answer = keeper.last_answer;
        let Err(error) = keeper.watch().await;
        let error = keeper.first_start.of_a_silent_server(error, &keeper.settings);
        keeper.report(&error);
        let has_answered = keeper.last_answer != last_answer;
        if has_answered {
            away_since = Instant::now();
        }
        // A server that denies access logs a line for each attempt. One that answers but stays unsettled has already
        // finished its start.
        let is_up = error.is::<TurnedAway>() || (has_answered && !keeper.status.get().settled);
        let may_be_starting = away_since.elapsed() < EAGER_FOR && !is_up;
        sleep(if may_be_starting { EAGER_PERIOD } else { PERIOD }).await;
    }
}

struct Keeper {
    settings: Arc<Sidecar>,
    status: Arc<Status>,
    /// When the server last answered.
    last_answer: Option<Instant>,
    trouble: Recurring,
    source: SourceWatch,
    accounts: Accounts,
    /// Whether both threads ran at the last look.
    replicated: bool,
    first_start: FirstStart,
    own_login: OwnLogin,
    refused: Refused,
    unacknowledged: Unacknowledged,
}

/// Whether a server with this `uptime` may have restarted since its last answer. In doubt it counts as restarted: one
/// comparison too many is harmless.
fn may_have_started_since(silence: Duration, uptime: Duration) -> bool {
    uptime < silence + UPTIME_TOLERANCE
}

impl Keeper {
    /// Watches one connection from its start to its loss.
    async fn watch(&mut self) -> Result<Infallible> {
        let mut server = match Server::connect(&self.settings.server, &self.settings.sql).await {
            Err(error) if error.is::<TurnedAway>() => {
                self.notice_stranger()?;
                return Err(error);
            }
            connected => connected?,
        };
        let Err(error) = self.look_after(&mut server).await;
        server.close().await;
        Err(error)
    }

    async fn look_after(&mut self, server: &mut Server) -> Result<Infallible> {
        self.notice_start(server).await?;
        let began = Instant::now();
        loop {
            if !self.status.get().settled {
                self.settle(server).await?;
            }
            self.observe(server).await?;
            let is_starting = !self.replicated && began.elapsed() < STARTING;
            sleep(if is_starting { EAGER_PERIOD } else { PERIOD }).await;
        }
    }

    /// A server that denies access still runs on a whole database: the temporary one of a first start has no TCP.
    fn notice_stranger(&self) -> Result<()> {
        let journal = Journal::read(&self.settings.data_dir)?;
        if journal.as_ref().is_some_and(|journal| journal.state == State::Initialising) {
            primary::settle(journal, &self.settings.data_dir, self.settings.first_start_mark)?;
        }
        Ok(())
    }

    async fn notice_start(&mut self, server: &mut Server) -> Result<()> {
        let uptime = Duration::from_secs(server.uptime().await?);
        // The clock may have been set meanwhile. A restart also shows in both threads being stopped.
        let stands_still = replication_status(server).await?.is_some_and(|status| status.stands_still());
        let is_new = self.last_answer.is_none_or(|answer| may_have_started_since(answer.elapsed(), uptime))
            || (self.replicated && stands_still);
        self.last_answer = Some(Instant::now());
        if is_new {
            if let Some(known) = server.dialect.known_before(&server.version) {
                warn!(
                    ServerVersionBeyond,
                    version = server.version,
                    known,
                    "the server is newer than all tested versions: using the dialect of the latest known version"
                );
            }
            info!(ServerAnswers, version = server.version, uptime_seconds = uptime.as_secs(), "the server answers");
        } else if self.status.get().settled {
            self.trouble.clear();
        }
        self.status.update(|snapshot| {
            snapshot.server = Some(server.version.clone());
            snapshot.settled &= !is_new;
            if snapshot.settled {
                // Only the connection was lost, and it is back.
                snapshot.trouble = None;
            }
            snapshot.server_starts += u64::from(is_new);
        });
        Ok(())
    }

    /// Compares and corrects, once for each start of the server and again after an error.
    async fn settle(&mut self, server: &mut Server) -> Result<()> {
        server_id::check(server, &self.settings).await?;
        let journal = Journal::read(&self.settings.data_dir)?;
        let (journal, unfit) = match self.settings.member.role() {
            Role::Primary => {
                let journal = match journal {
                    Some(journal) if journal.state == State::Published => {
                        primary::take_over(journal, server, &self.settings.data_dir).await?
                    }
                    journal => primary::settle(journal, &self.settings.data_dir, self.settings.first_start_mark)?,
                };
                self.accounts.begin(server).await?;
                (journal, primary::why_unfit_to_donate(server).await?)
            }
            Role::Replica => {
                (replica::settle(journal, server, &self.settings, &mut self.source.primary, &self.status).await?, None)
            }
        };
        self.source.begin();
        let role = self.settings.member.role();
        self.status.update(|snapshot| {
            snapshot.settled = true;
            snapshot.trouble = None;
            snapshot.state = Some(journal.state);
            snapshot.broken = journal.broken;
            snapshot.applier_fault = journal.applier_fault.filter(|_| role == Role::Replica);
            snapshot.set_id = journal.set_id;
            snapshot.lineage = journal.lineage;
            snapshot.clone = journal.clone;
            snapshot.unfit_to_donate = unfit;
        });
        self.trouble.clear();
        self.first_start.is_over(&self.settings);
        Ok(())
    }

    /// Looks at replication. Records in the journal when it first runs and when it breaks.
    async fn observe(&mut self, server: &mut Server) -> Result<()> {
        let mut replication = replication_status(server).await?;
        let runs = replication.as_ref().is_some_and(ReplicationStatus::runs);
        self.replicated = runs;
        if runs {
            self.note_that_it_runs()?;
        }
        if let Some(status) = &replication
            && let Some(why) = broken::why_it_cannot_go_on(status)
        {
            self.note_that_it_is_broken(why, server, status).await?;
        }
        if let (Role::Replica, Some(status)) = (self.settings.member.role(), &replication) {
            let known = self.status.get().applier_fault;
            match fault::look(known.as_ref(), server, status).await? {
                Some(Change::Stopped(fault)) => self.note_fault(known.as_ref(), Some(fault))?,
                Some(Change::Passed) => self.note_fault(known.as_ref(), None)?,
                None => {}
            }
        }
        match (self.settings.member.role(), &replication) {
            (Role::Primary, _) => self.accounts.tend(server).await,
            (Role::Replica, Some(replication)) => self.source.tend(server, replication, &self.status).await?,
            (Role::Replica, None) => {}
        }
        if let Some(replication) = &mut replication {
            self.own_login.explain(replication, &self.settings).await;
        }
        let refused = self.refused.look(replication.as_ref(), self.settings.max_refusal);
        let waits = match self.settings.member.role() {
            Role::Primary => None,
            Role::Replica => self.unacknowledged.look(server, replication.as_ref(), self.settings.max_refusal).await?,
        };
        self.status.update(|snapshot| {
            (snapshot.replication, snapshot.refused) = (replication, refused);
            snapshot.unacknowledged_too_long = waits.as_ref().is_some_and(|(_, is_long)| *is_long);
            snapshot.unacknowledged = waits.map(|(cause, _)| cause);
        });
        self.last_answer = Some(Instant::now());
        Ok(())
    }

    fn note_that_it_runs(&mut self) -> Result<()> {
        let snapshot = self.status.get();
        if snapshot.state != Some(State::Configured) && snapshot.broken.is_none() {
            return Ok(());
        }
        let mut journal = match Journal::read(&self.settings.data_dir)? {
            Some(journal) => journal,
            // Data from elsewhere, whose server has started replication by itself.
            None if snapshot.set_id.is_none() && snapshot.clone.is_none() => Journal::new(State::Configured),
            None => bail!("the journal has disappeared"),
        };
        if journal.state == State::Configured {
            journal = journal.entering(State::Replicating);
        }
        journal.broken = None;
        journal.write(&self.settings.data_dir)?;
        self.status.update(|snapshot| (snapshot.state, snapshot.broken) = (Some(journal.state), None));
        info!(ReplicationRuns, "replication runs");
        Ok(())
    }

    /// Records the fault in the journal, where the next start of `clone` finds it.
    async fn note_that_it_is_broken(
        &mut self,
        why: Why,
        server: &mut Server,
        status: &ReplicationStatus,
    ) -> Result<()> {
        let known = self.status.get().broken;
        let is_known = known.is_some_and(|known| known.why == why || Some(&known.text) == status.error.as_ref());
        if self.settings.member.role() == Role::Primary || is_known {
            return Ok(());
        }
        let broken = broken::describe(why, server, status, &self.settings).await?;
        error!(
            ReplicationBroken,
            why = broken.why.into_str(),
            "replication is broken ({}): {}",
            broken.text,
            broken.why.remedy()
        );
        if let Some(mut journal) = Journal::read(&self.settings.data_dir)? {
            journal.broken = Some(broken.clone());
            journal.write(&self.settings.data_dir)?;
        }
        self.status.update(|snapshot| snapshot.broken = Some(broken));
        Ok(())
    }

    /// Writes the journal first, so that a sidecar killed here finds or still knows the fault.
    fn note_fault(&self, known: Option<&ApplierFault>, fault: Option<ApplierFault>) -> Result<()> {
        let journal = Journal::read(&self.settings.data_dir)?;
        // Data from elsewhere have no journal before replication first runs on them.
        let mut journal = journal.unwrap_or_else(|| Journal::new(State::Configured));
        journal.applier_fault = fault.clone();
        journal.write(&self.settings.data_dir)?;
        match (&fault, known) {
            (Some(fault), known) if known.is_none_or(|known| known.stopped_at != fault.stopped_at) => error!(
                ApplierFault,
                number = fault.number,
                position = %fault.stopped_at,
                "the applier stopped with an error ({}): this pod is unready and donates no clones until the applier \
                 has passed that place; repair the data and start the applier, or delete the volume to clone again",
                fault.text
            ),
            (None, Some(known)) => {
                info!(
                    ApplierFaultPassed,
                    number = known.number,
                    position = %known.stopped_at,
                    "the applier has passed its last error"
                );
            }
            _ => {}
        }
        self.status.update(|snapshot| snapshot.applier_fault = fault);
        Ok(())
    }

    /// Logs a new obstacle once, and later attempts in silence.
    fn report(&mut self, error: &anyhow::Error) {
        let trouble = Trouble::of(error);
        self.status.update(|snapshot| {
            snapshot.server = None;
            snapshot.replication = None;
            snapshot.trouble = Some(trouble.cause.clone());
        });
        if self.trouble.is_news(&trouble) {
            let Trouble { cause, code } = trouble;
            self.first_start.leave_message(&cause, &self.settings);
            warn!(= cause.event, code, "{cause}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uptime_shows_a_restart() {
        let seconds = Duration::from_secs;
        assert!(may_have_started_since(seconds(60), seconds(0)));
        assert!(may_have_started_since(seconds(60), seconds(60)));
        assert!(may_have_started_since(Duration::from_millis(500), seconds(0)));
        assert!(!may_have_started_since(Duration::from_millis(500), seconds(100)));
        assert!(!may_have_started_since(seconds(60), seconds(100)));
    }
}

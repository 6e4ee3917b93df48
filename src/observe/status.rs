//! What the sidecar knows of its pod right now: one snapshot, written by who watches the server, read by everyone.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::datadir::journal::{ApplierFault, BrokenReplication, CloneRecord, State, now};
use crate::model::event::{Cause, Event};
use crate::model::identity::{Lineage, SetId};
use crate::model::ordinal::Role;
use crate::server::status::{ReplicationStatus, Thread};

/// A snapshot that is older than this says nothing about the present. Longer than a statement may take: a server that
/// hangs is noticed by that; stopping a receiver whose name server is silent takes 18 seconds.
const FRESH: Duration = Duration::from_secs(40);

/// What is known. The form of `/status` too.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    pub pod: String,
    pub role: Role,
    /// The server's version, while it answers.
    pub server: Option<String>,
    /// Whether this start of the server was looked at and set right.
    pub settled: bool,
    pub state: Option<State>,
    pub set_id: Option<SetId>,
    /// The latest recovery of the primary that the data went along with.
    pub lineage: Option<Lineage>,
    pub clone: Option<CloneRecord>,
    pub replication: Option<ReplicationStatus>,
    /// Why replication can't go on, where it can't.
    pub broken: Option<BrokenReplication>,
    /// Where the applier stopped at an error, until it has applied beyond that place.
    pub applier_fault: Option<ApplierFault>,
    /// Why the primary may not be followed: its data are another set's.
    pub foreign_source: Option<String>,
    /// Why it isn't known whether the primary may be followed, while it isn't.
    pub silent_source: Option<String>,
    /// Since when its receiver is held back for that, in seconds since 1970.
    pub held_back_since: Option<u64>,
    /// Whether that is longer than clients may be sent here.
    #[serde(skip)]
    pub held_back_too_long: bool,
    /// Why the applier waits for an acknowledgement that nobody gives, where it does.
    pub unacknowledged: Option<Cause>,
    /// Whether that is longer than clients may be sent here.
    #[serde(skip)]
    pub unacknowledged_too_long: bool,
    /// Why the source refuses this replica, where it has for too long.
    pub refused: Option<Cause>,
    /// What keeps this server from being copied, where something lasting does.
    pub unfit_to_donate: Option<String>,
    /// Whether a clone is being served.
    pub donating: bool,
    /// Since when, in seconds since 1970.
    pub donating_since: Option<u64>,
    /// What stands in the way, for people.
    pub trouble: Option<Cause>,
    /// Starts of the server seen since the sidecar's own.
    pub server_starts: u64,
    #[serde(skip)]
    observed: Option<Instant>,
}

/// The snapshot, shared.
pub struct Status {
    snapshot: RwLock<Snapshot>,
    /// Until when no clone is begun.
    held: Mutex<Option<Instant>>,
    /// Whether clients could be sent here at some time since the sidecar's start.
    was_ready: AtomicBool,
}

impl Status {
    pub fn new(pod: String, role: Role) -> Status {
        let snapshot = RwLock::new(Snapshot {
            pod,
            role,
            server: None,
            settled: false,
            state: None,
            set_id: None,
            lineage: None,
            clone: None,
            replication: None,
            broken: None,
            applier_fault: None,
            foreign_source: None,
            silent_source: None,
            held_back_since: None,
            held_back_too_long: false,
            unacknowledged: None,
            unacknowledged_too_long: false,
            refused: None,
            unfit_to_donate: None,
            donating: false,
            donating_since: None,
            trouble: Some(Event::ServerSilent.because("the server has not answered yet")),
            server_starts: 0,
            observed: None,
        });
        Status { snapshot, held: Mutex::new(None), was_ready: AtomicBool::new(false) }
    }

    /// A copy of what is known.
    pub fn get(&self) -> Snapshot {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that a clone is served, or no more: nothing is seen of the server by that.
    pub fn donates(&self, donating: bool) {
        let mut snapshot = self.snapshot.write().unwrap_or_else(PoisonError::into_inner);
        (snapshot.donating, snapshot.donating_since) = (donating, donating.then(now));
    }

    /// Has no clone begun for so long: the server is about to stop.
    pub fn hold(&self, time: Duration) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + time);
    }

    /// Whether no clone is to be begun.
    pub fn is_held(&self) -> bool {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| Instant::now() < until)
    }

    /// Changes what is known, just now seen.
    pub fn update(&self, change: impl FnOnce(&mut Snapshot)) {
        let mut snapshot = self.snapshot.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut snapshot);
        snapshot.observed = Some(Instant::now());
        if snapshot.ready().is_ok() {
            self.was_ready.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the pod was ready at some time since the sidecar's start.
    pub fn was_ready(&self) -> bool {
        self.was_ready.load(Ordering::Relaxed)
    }
}

impl Snapshot {
    /// Whether clients may be sent here; else why not. A replica whose source is away keeps serving what it has.
    pub fn ready(&self) -> Result<(), Cause> {
        self.settled_server()?;
        if self.role == Role::Primary {
            return Ok(());
        }
        let Some(replication) = &self.replication else {
            return Err(Event::ReplicationNotSetUp.because("no replication is set up"));
        };
        self.beyond_fault()?;
        let receiver_lives = match replication.receiver {
            Thread::Running => true,
            Thread::Connecting => self.state == Some(State::Replicating) && self.refused.is_none(),
            // Held back by us: else its error would be looked at, or somebody stopped it by hand.
            Thread::Stopped => {
                self.state == Some(State::Replicating) && self.silent_source.is_some() && !self.held_back_too_long
            }
        };
        if let (false, Some(refused)) = (receiver_lives, &self.refused) {
            return Err(refused.clone());
        }
        if receiver_lives && replication.applier == Thread::Running {
            return match &self.unacknowledged {
                Some(why) if self.unacknowledged_too_long => Err(why.clone()),
                _ => Ok(()),
            };
        }
        Err(self.replication_trouble(replication))
    }

    /// Whether a copy of this server may be given away; else why not.
    pub fn fit_to_donate(&self, max_lag: Duration) -> Result<(), Cause> {
        self.settled_server()?;
        if let Some(why) = &self.unfit_to_donate {
            return Err(Event::DonorUnfit.because(why));
        }
        if self.role == Role::Primary {
            return Ok(());
        }
        let Some(replication) = &self.replication else {
            return Err(Event::ReplicationNotSetUp.because("no replication is set up"));
        };
        self.beyond_fault()?;
        if !replication.runs() {
            return Err(self.replication_trouble(replication));
        }
        if let Some(why) = &self.unacknowledged {
            return Err(why.clone());
        }
        match replication.lag_seconds {
            Some(lag) if lag > max_lag.as_secs() => {
                let text =
                    format!("replication is {lag} seconds behind, more than {} are not passed on", max_lag.as_secs());
                Err(Event::ReplicationLag.because(text))
            }
            Some(_) => Ok(()),
            None => Err(Event::ReplicationLagUnknown.because("the server does not say how far replication is behind")),
        }
    }

    /// Whether a primary that has lost its data may have a copy of this replica. That it follows nobody is why it is
    /// asked. Where its applier stopped at an error, its data are not what the primary's were: a user who knows better has
    /// the place skipped first.
    pub fn fit_for_recovery(&self) -> Result<(), Cause> {
        self.living_server()?;
        self.beyond_fault()?;
        if self.state.is_none() {
            return Err(Event::ServerUnsettled.because("the server's start is being looked at"));
        }
        match &self.replication {
            Some(_) => Ok(()),
            None => Err(Event::ReplicationNone.because("it is no replica: it has no source")),
        }
    }

    fn living_server(&self) -> Result<(), Cause> {
        if self.server.is_none() || self.observed.is_none_or(|observed| observed.elapsed() > FRESH) {
            return Err(Event::ServerSilent.because("the server does not answer"));
        }
        Ok(())
    }

    fn settled_server(&self) -> Result<(), Cause> {
        if let Some(trouble) = &self.trouble {
            return Err(trouble.clone());
        }
        self.living_server()?;
        if let Some(why) = &self.foreign_source {
            return Err(Event::SourceForeign.because(why));
        }
        if let Some(broken) = &self.broken {
            return Err(Event::ReplicationBroken.because(format!(
                "replication can't go on ({}): {}: {}",
                broken.why.name(),
                broken.text,
                broken.why.remedy()
            )));
        }
        if self.settled { Ok(()) } else { Err(Event::ServerUnsettled.because("the server's start is being looked at")) }
    }

    /// Whether the applier has gone on since its last error. One good look is not enough: it runs for a moment after each
    /// start.
    pub fn beyond_fault(&self) -> Result<(), Cause> {
        let Some(fault) = &self.applier_fault else { return Ok(()) };
        Err(Event::ApplierFault.because(format!(
            "the applier stopped with error {} after {}, and has not applied beyond that yet: {}",
            fault.number, fault.stopped_at, fault.text
        )))
    }

    fn replication_trouble(&self, replication: &ReplicationStatus) -> Cause {
        let threads = format!("receiver {:?}, applier {:?}", replication.receiver, replication.applier).to_lowercase();
        match (&replication.error, &self.silent_source) {
            (_, Some(why)) => {
                Event::ReplicationWaits.because(format!("replication waits for the primary ({threads}): {why}"))
            }
            (Some(error), None) => {
                Event::ReplicationStopped.because(format!("replication does not run ({threads}): {error}"))
            }
            (None, None) => Event::ReplicationStopped.because(format!("replication does not run ({threads})")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::position::Position;

    fn replica(receiver: Thread, applier: Thread, lag_seconds: Option<u64>) -> Snapshot {
        let status = Status::new("mysql-1".into(), Role::Replica);
        status.update(|snapshot| {
            snapshot.server = Some("10.11".into());
            snapshot.settled = true;
            snapshot.trouble = None;
            snapshot.state = Some(State::Replicating);
            snapshot.replication =
                Some(ReplicationStatus { receiver, applier, lag_seconds, ..ReplicationStatus::default() });
        });
        status.get()
    }

    #[test]
    fn a_replica_without_its_source_serves_but_does_not_donate() {
        let snapshot = replica(Thread::Connecting, Thread::Running, None);
        assert!(snapshot.ready().is_ok());
        assert!(snapshot.fit_to_donate(Duration::from_secs(60)).is_err());
    }

    #[test]
    fn a_replica_that_was_refused_for_too_long_says_so() {
        let mut snapshot = replica(Thread::Connecting, Thread::Running, None);
        let cause = Event::ReplicationRefused.because("refused");
        snapshot.refused = Some(cause.clone());
        assert_eq!(snapshot.ready(), Err(cause));
    }

    #[test]
    fn a_replica_that_waits_for_a_silent_primary_serves_and_one_of_another_set_does_not() {
        let mut snapshot = replica(Thread::Stopped, Thread::Running, None);
        assert!(snapshot.ready().is_err());
        snapshot.silent_source = Some("nobody listens".into());
        assert!(snapshot.ready().is_ok());
        snapshot.held_back_too_long = true;
        assert_eq!(snapshot.ready().map_err(|why| why.event), Err(Event::ReplicationWaits));
        snapshot.held_back_too_long = false;
        snapshot.foreign_source = Some("another set".into());
        assert_eq!(snapshot.ready(), Err(Event::SourceForeign.because("another set")));
    }

    #[test]
    fn a_replica_that_stands_still_does_neither() {
        let snapshot = replica(Thread::Running, Thread::Stopped, None);
        assert!(snapshot.ready().is_err() && snapshot.fit_to_donate(Duration::from_secs(60)).is_err());
    }

    #[test]
    fn both_threads_of_a_replica_that_stopped_at_an_error_prove_nothing() {
        let mut snapshot = replica(Thread::Running, Thread::Running, Some(0));
        let max = Duration::from_secs(60);
        assert!(snapshot.ready().is_ok() && snapshot.fit_to_donate(max).is_ok() && snapshot.fit_for_recovery().is_ok());
        let stopped_at = Position::MariadbGtid { slave_pos: "0-100-7".into() };
        snapshot.applier_fault = Some(ApplierFault::new(1062, "Duplicate entry".into(), stopped_at, "0-100-9".into()));
        for answer in [snapshot.ready(), snapshot.fit_to_donate(max), snapshot.fit_for_recovery()] {
            let why = answer.unwrap_err().text;
            assert!(why.contains("1062") && why.contains("0-100-7") && why.contains("Duplicate entry"), "{why}");
        }
    }

    #[test]
    fn lag_is_not_passed_on() {
        let max = Duration::from_secs(60);
        assert!(replica(Thread::Running, Thread::Running, Some(60)).fit_to_donate(max).is_ok());
        assert!(replica(Thread::Running, Thread::Running, Some(61)).fit_to_donate(max).is_err());
    }

    #[test]
    fn nobody_is_ready_before_the_server_answered() {
        assert!(Status::new("mysql-0".into(), Role::Primary).get().ready().is_err());
    }
}

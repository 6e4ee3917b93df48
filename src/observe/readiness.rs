//! Decisions about a pod, from a snapshot alone: whether clients may be sent to it, and whether it may donate.

use std::time::Duration;

use super::snapshot::Snapshot;
use crate::datadir::journal::State;
use crate::model::event::{Cause, Event};
use crate::model::ordinal::Role;
use crate::server::status::{ReplicationStatus, Thread};

/// The age from which a snapshot is stale. It exceeds the time limit of a statement, because that limit already
/// detects a hanging server. Stopping a receiver takes 18 seconds while its name server is silent.
const FRESH: Duration = Duration::from_secs(40);

impl Snapshot {
    /// Whether clients may be sent here, or the reason against it. A replica whose source is away keeps serving
    /// its data.
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
            // Stopped counts as alive only if we held the receiver back. Otherwise it failed, or an operator
            // stopped it.
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

    /// Whether a copy of this server may be served, or the reason against it.
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
                    format!("replication is {lag} seconds behind; the limit for donating is {}", max_lag.as_secs());
                Err(Event::ReplicationLag.because(text))
            }
            Some(_) => Ok(()),
            None => Err(Event::ReplicationLagUnknown.because("the server does not report the replication lag")),
        }
    }

    /// Whether a primary that has lost its data may be recovered from this replica. It may have lost its source,
    /// which is the very reason for the request. If its applier stopped with an error, its data differ from the
    /// primary's. An operator has to skip that place first.
    pub fn fit_for_recovery(&self) -> Result<(), Cause> {
        self.living_server()?;
        self.beyond_fault()?;
        if self.state.is_none() {
            return Err(Event::ServerUnsettled.because("the server is still being checked after its start"));
        }
        match &self.replication {
            Some(_) => Ok(()),
            None => Err(Event::ReplicationNone.because("this pod is not a replica: it has no source")),
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
                "replication is broken ({}): {}: {}",
                broken.why,
                broken.text,
                broken.why.remedy()
            )));
        }
        if self.settled {
            Ok(())
        } else {
            Err(Event::ServerUnsettled.because("the server is still being checked after its start"))
        }
    }

    /// Whether the applier has progressed since its last error. One good check is too little, because it runs for
    /// a moment after each start.
    pub fn beyond_fault(&self) -> Result<(), Cause> {
        let Some(fault) = &self.applier_fault else { return Ok(()) };
        Err(Event::ApplierFault.because(format!(
            "the applier stopped with error {} after {}; it is still at that place: {}",
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
                Event::ReplicationStopped.because(format!("replication is not running ({threads}): {error}"))
            }
            (None, None) => Event::ReplicationStopped.because(format!("replication is not running ({threads})")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datadir::journal::ApplierFault;
    use crate::model::position::Position;
    use crate::observe::status::Status;

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
    fn a_replica_refused_for_too_long_is_not_ready() {
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
    fn a_stopped_replica_neither_serves_nor_donates() {
        let snapshot = replica(Thread::Running, Thread::Stopped, None);
        assert!(snapshot.ready().is_err() && snapshot.fit_to_donate(Duration::from_secs(60)).is_err());
    }

    #[test]
    fn running_threads_do_not_clear_an_applier_error() {
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
    fn a_lagging_replica_does_not_donate() {
        let max = Duration::from_secs(60);
        assert!(replica(Thread::Running, Thread::Running, Some(60)).fit_to_donate(max).is_ok());
        assert!(replica(Thread::Running, Thread::Running, Some(61)).fit_to_donate(max).is_err());
    }

    #[test]
    fn a_pod_is_ready_only_after_the_servers_first_answer() {
        assert!(Status::new("mysql-0".into(), Role::Primary).get().ready().is_err());
    }
}

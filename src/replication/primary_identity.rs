//! Whether the primary's data are of the replica's own set: its sidecar is asked, and its answer compared with the journal.

use std::mem::discriminant;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::tutorial_primary::Trust;
use crate::clone::connection::{self, Questions, Silence};
use crate::datadir::journal::{Journal, State};
use crate::model::event::{info, warn};
use crate::model::host::HostPort;
use crate::model::identity::{Descent, Kinship, Lineage, SetId};
use crate::model::position::Position;
use crate::observe::status::Status;
use crate::protocol::message::Report;
use crate::server::Server;
use crate::server::history::{self, Progress};
use crate::server::status::ReplicationStatus;
use crate::settings::Sidecar;

/// The advice while a tutorial primary is still refused.
const UNPROVEN_PRIMARY: &str =
    "move it to mysqlset first, or follow it without a check of its set with --follow-unproven-primary";

/// The primary's sidecar must answer within this time, since the server goes unwatched meanwhile.
const PATIENCE: Duration = Duration::from_secs(3);

/// The result of comparing identities.
pub enum Identity {
    Same,
    /// The primary is the tutorial's, and the operator has allowed following it.
    Trusted,
    /// The primary's data belong to another set; in words.
    Different(String),
    /// The primary is silent; why.
    Unknown(String),
}

/// Why a report is missing.
enum Unheard {
    /// The primary's sidecar is the tutorial's.
    Legacy,
    /// In words.
    Other(String),
}

/// The primary, as its sidecar reports it.
pub struct Primary {
    pub settings: Arc<Sidecar>,
    /// A pending question. It cannot be cancelled, and a slow or silent name server can hold it up for long.
    pub asking: Option<JoinHandle<Answered>>,
    /// Whether the last question reached a peer that kept silent.
    pub is_mute: bool,
    /// Remembers an answer that the primary is the tutorial's.
    pub trust: Trust,
}

/// The answer of the primary's sidecar, and when it came.
pub type Answered = (Instant, Result<Report, Silence>);

impl Primary {
    pub fn new(settings: Arc<Sidecar>) -> Primary {
        Primary { settings, asking: None, is_mute: false, trust: Trust::default() }
    }

    /// Asks the primary's sidecar, and compares. Data without an identity adopt the primary's: they are older than
    /// identities, or the tutorial's. A primary that was recovered from a copy is followed by replicas that are at most
    /// as far as that copy.
    pub async fn identity(
        &mut self,
        server: &mut Server,
        replication: Option<&ReplicationStatus>,
        status: &Status,
    ) -> Result<Identity> {
        let Some(primary) = self.settings.primary.clone() else { return Ok(Identity::Same) };
        if self.trust.holds(Instant::now()) {
            return self.of_the_tutorials(&primary);
        }
        let answer = self.ask(&primary).await?;
        self.trust.answered(false, Instant::now());
        let report = match answer {
            Ok(report) => report,
            Err(Unheard::Legacy) => return self.of_the_tutorials(&primary),
            Err(Unheard::Other(why)) => return Ok(Identity::Unknown(format!("{primary}: {why}"))),
        };
        let Some(theirs) = report.set_id else {
            return Ok(Identity::Unknown(format!("{primary}: its database is still incomplete")));
        };
        let data_dir = &self.settings.data_dir;
        let mut journal = Journal::read(data_dir)?.unwrap_or_else(|| Journal::new(State::Configured));
        if let Kinship::Different { own, theirs } = Kinship::of(journal.set_id.as_ref(), Some(&theirs)) {
            return Ok(Identity::Different(why_different(&report.pod, report.lineage.as_ref(), theirs, own)));
        }
        if let Descent::Since(lineage) = Descent::of(journal.lineage.as_ref(), report.lineage.as_ref())
            && let Some(extra) = beyond(&lineage.began_at, &journal, server, replication).await?
        {
            return Ok(Identity::Different(further(&report.pod, &lineage.began_at, &extra)));
        }
        if journal.set_id.is_none() || journal.lineage != report.lineage {
            info!(DataFollow, set_id = %theirs, recovered = report.lineage.is_some(), "adopted the primary's set id or lineage");
            (journal.set_id, journal.lineage) = (Some(theirs), report.lineage);
            journal.write(data_dir)?;
            status.update(|snapshot| (snapshot.set_id, snapshot.lineage) = (journal.set_id, journal.lineage));
        }
        Ok(Identity::Same)
    }

    /// Follows a primary that still runs the tutorial, where the operator has allowed it and the data have no identity
    /// either. Data with an identity once belonged to a primary that has it.
    fn of_the_tutorials(&mut self, primary: &HostPort) -> Result<Identity> {
        let has_identity = Journal::read(&self.settings.data_dir)?.is_some_and(|journal| journal.set_id.is_some());
        if self.settings.follow_unproven_primary && !has_identity {
            if self.trust.holds(Instant::now()) {
                return Ok(Identity::Trusted);
            }
            self.trust.answered(true, Instant::now());
            warn!(
                SourceUnproven,
                %primary,
                "the primary does not run mysqlset: following it without a check of its set (--follow-unproven-primary)"
            );
            return Ok(Identity::Trusted);
        }
        let why =
            if has_identity { "these data have a set id, and the primary reports none" } else { UNPROVEN_PRIMARY };
        Ok(Identity::Unknown(format!(
            "{primary} does not run mysqlset, but sends an unauthenticated backup to every client: {why}"
        )))
    }

    async fn ask(&mut self, primary: &HostPort) -> Result<Result<Report, Unheard>> {
        let answer = loop {
            let asking = self.asking.get_or_insert_with(|| {
                let (settings, primary) = (self.settings.clone(), primary.clone());
                tokio::task::spawn_blocking(move || {
                    let answer =
                        connection::ask_primary(&settings.member, &settings.peering, &primary, &Questions::default());
                    (Instant::now(), answer)
                })
            });
            let Ok(answered) = timeout(PATIENCE, asking).await else {
                return Ok(Err(Unheard::Other(format!("no answer in {} seconds", PATIENCE.as_secs()))));
            };
            self.asking = None;
            let (at, answer) = answered.context("waiting for the primary's answer")?;
            // Skips an answer that arrived long before anyone listened. A recent one counts even if it took longer than
            // our patience.
            if at.elapsed() <= PATIENCE {
                break answer;
            }
        };
        self.is_mute = !matches!(answer, Ok(_) | Err(Silence::Unreachable(_)));
        Ok(answer.map_err(|silence| match silence {
            Silence::Legacy => Unheard::Legacy,
            other => Unheard::Other(other.to_string()),
        }))
    }
}

/// Finds what these data hold, applied or fetched, beyond the beginning of a recovered primary's history. An unstarted
/// clone has its own position: by file and offset, one in the logs of the lost primary.
async fn beyond(
    began_at: &Position,
    journal: &Journal,
    server: &mut Server,
    replication: Option<&ReplicationStatus>,
) -> Result<Option<Position>> {
    if let (State::Published, Some(clone)) = (journal.state, &journal.clone) {
        let position = clone.position()?.clone();
        return Ok((began_at.covers(&position) != Some(true)).then_some(position));
    }
    let Progress { applied, fetched } = history::progress(server, replication).await?;
    // A GTID cannot be compared with a file and offset.
    let is_another_kind = |position: &Position| discriminant(began_at) != discriminant(position);
    let is_beyond =
        |position: &Position| began_at.covers(position).map_or_else(|| is_another_kind(position), |covers| !covers);
    Ok(applied.into_iter().chain(fetched).find(is_beyond))
}

fn further(primary: &str, began_at: &Position, own: &Position) -> String {
    format!(
        "{primary} was recovered from a copy that ends at {began_at}, and this pod has more ({own}), which the set has \
         lost: these data are kept, and replication stays stopped. To keep these data, delete the primary's volume and \
         recover it from this pod (--donor); to give them up, delete this pod's volume"
    )
}

fn why_different(primary: &str, lineage: Option<&Lineage>, theirs: &SetId, own: &SetId) -> String {
    match lineage {
        Some(lineage) if lineage.replaces.as_ref() == Some(own) => recovered_without_gtids(primary),
        _ => different(primary, theirs, own),
    }
}

/// The one case of two identities in which the primary is sound.
fn recovered_without_gtids(primary: &str) -> String {
    format!(
        "{primary} was recovered from a replica without GTIDs, so no replica can follow it: to clone this pod again, \
         delete this pod's volume and the pod. These data are kept until then"
    )
}

fn different(primary: &str, theirs: &SetId, own: &SetId) -> String {
    format!(
        "{primary} holds a database of set id {theirs}, this pod of {own}: the primary has lost its data, or this \
         volume belongs to another set. These data are kept, and replication stays stopped. To recover the primary \
         from a replica, delete its volume while replicas run, and run its clone with --on-lost-primary recover; to \
         give these data up, delete this pod's volume"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_of_a_primary_recovered_without_gtids_get_one_advice() {
        let (old, new) = (SetId::of_random([1; 16]), SetId::of_random([2; 16]));
        let lineage = |replaces: Option<&SetId>| Lineage {
            id: new.clone(),
            began_at: Position::BinlogFile { file: "mysql-bin.000003".into(), offset: 4 },
            replaces: replaces.cloned(),
        };
        let told = |lineage: Option<Lineage>| why_different("mysql-0", lineage.as_ref(), &new, &old);
        let why = told(Some(lineage(Some(&old))));
        assert!(why.contains("delete this pod's volume and the pod") && !why.contains("--on-lost-primary"), "{why}");
        for other in [None, Some(lineage(None)), Some(lineage(Some(&new)))] {
            assert!(told(other).contains("--on-lost-primary"));
        }
    }
}

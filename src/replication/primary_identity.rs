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
use crate::model::identity::{Lineage, SetId};
use crate::model::position::Position;
use crate::observe::status::Status;
use crate::protocol::message::Report;
use crate::server::Server;
use crate::server::history::{self, Progress};
use crate::server::status::ReplicationStatus;
use crate::settings::Sidecar;

/// What is said where the primary is the tutorial's and may not be followed.
const UNPROVEN_PRIMARY: &str = "with --follow-unproven-primary it is followed, without knowing whether its data are of this \
    set; or have it run mysqlset first";

/// How long the server is not looked at while the primary is asked.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is known about the primary's identity.
pub enum Identity {
    Same,
    /// The primary is the tutorial's, and the operator has said that it is followed all the same.
    Trusted,
    /// The primary's data are another set's; in words.
    Different(String),
    /// The primary does not say; why.
    Unknown(String),
}

/// Why there is no report.
enum Unheard {
    /// The primary's sidecar is the tutorial's.
    Bare,
    /// In words.
    Other(String),
}

/// The primary, as its sidecar tells of it.
pub struct Primary {
    pub settings: Arc<Sidecar>,
    /// A question that is on its way. A name server that is slow or silent can hold it up for long, and it can't be broken
    /// off.
    pub asking: Option<JoinHandle<Answered>>,
    /// Whether somebody was there at the last question and did not say what it is.
    pub is_mute: bool,
    /// That it is the tutorial's, where that was its last answer.
    pub trust: Trust,
}

/// What the primary's sidecar said, and when.
pub type Answered = (Instant, Result<Report, Silence>);

impl Primary {
    pub fn new(settings: Arc<Sidecar>) -> Primary {
        Primary { settings, asking: None, is_mute: false, trust: Trust::default() }
    }

    /// Asks the primary's sidecar, and compares. Data without an identity take the primary's: they are older than
    /// identities, or the tutorial's. A primary that was recovered from a copy is followed by who is not further than that.
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
            Err(Unheard::Bare) => return self.of_the_tutorials(&primary),
            Err(Unheard::Other(why)) => return Ok(Identity::Unknown(format!("{primary}: {why}"))),
        };
        let Some(theirs) = report.set_id else {
            return Ok(Identity::Unknown(format!("{primary}: its database is not complete yet")));
        };
        let data_dir = &self.settings.data_dir;
        let mut journal = Journal::read(data_dir)?.unwrap_or_else(|| Journal::new(State::Configured));
        if let Some(own) = &journal.set_id
            && *own != theirs
        {
            return Ok(Identity::Different(why_different(&report.pod, report.lineage.as_ref(), &theirs, own)));
        }
        if let Some(lineage) = &report.lineage
            && journal.lineage.as_ref() != Some(lineage)
            && let Some(extra) = beyond(&lineage.began_at, &journal, server, replication).await?
        {
            return Ok(Identity::Different(further(&report.pod, &lineage.began_at, &extra)));
        }
        if journal.set_id.is_none() || journal.lineage != report.lineage {
            info!(DataFollow, set_id = %theirs, recovered = report.lineage.is_some(), "these data go with the primary's");
            (journal.set_id, journal.lineage) = (Some(theirs), report.lineage);
            journal.write(data_dir)?;
            status.update(|snapshot| (snapshot.set_id, snapshot.lineage) = (journal.set_id, journal.lineage));
        }
        Ok(Identity::Same)
    }

    /// A primary that isn't moved over yet is followed where the operator has said so, by data that have no identity
    /// either: those that have one were seen to go with a primary that has it.
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
                "the primary's sidecar is no mysqlset: it is followed without knowing whether its data are of this set \
                 (--follow-unproven-primary)"
            );
            return Ok(Identity::Trusted);
        }
        let why =
            if has_identity { "these data have an identity, and the primary says none" } else { UNPROVEN_PRIMARY };
        Ok(Identity::Unknown(format!("{primary} is no mysqlset, but sends a backup to whoever connects: {why}")))
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
            let (at, answer) = answered.context("asking the primary")?;
            // One that came while nobody listened is an old one, unless that was a moment ago: answers that take longer than
            // our patience are answers too.
            if at.elapsed() <= PATIENCE {
                break answer;
            }
        };
        self.is_mute = !matches!(answer, Ok(_) | Err(Silence::Unreachable(_)));
        Ok(answer.map_err(|silence| match silence {
            Silence::Bare => Unheard::Bare,
            other => Unheard::Other(other.to_string()),
        }))
    }
}

/// What these data have, applied or fetched, that lies beyond the beginning of a recovered primary's history. A clone
/// that was never started from has its own position, by file and offset one in the logs of the lost primary.
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
    // One by GTID and one by file and offset can't be compared.
    let is_another_kind = |position: &Position| discriminant(began_at) != discriminant(position);
    let is_beyond =
        |position: &Position| began_at.covers(position).map_or_else(|| is_another_kind(position), |covers| !covers);
    Ok(applied.into_iter().chain(fetched).find(is_beyond))
}

fn further(primary: &str, began_at: &Position, own: &Position) -> String {
    format!(
        "{primary} was recovered from a copy that held all up to {began_at}, and this pod has more ({own}), which the set \
         has lost: these data are kept and follow nobody. To have the set go on with them, delete the primary's volume \
         and recover it from this pod (--donor); to give them up, delete this pod's volume"
    )
}

fn why_different(primary: &str, lineage: Option<&Lineage>, theirs: &SetId, own: &SetId) -> String {
    match lineage {
        Some(lineage) if lineage.replaces.as_ref() == Some(own) => recovered_without_gtids(primary),
        _ => different(primary, theirs, own),
    }
}

/// The one case of two identities in which nothing is wrong with the primary.
fn recovered_without_gtids(primary: &str) -> String {
    format!(
        "{primary} was recovered from a replica without GTIDs, after which no replica can follow it: to have this pod cloned \
         from it, delete this pod's volume and the pod. These data are kept until then"
    )
}

fn different(primary: &str, theirs: &SetId, own: &SetId) -> String {
    format!(
        "{primary} holds a database of set identity {theirs}, this pod of {own}: the primary has lost its data, or this \
         volume belongs to another set. These data are kept and follow nobody. To recover the primary from a replica, \
         delete its volume while replicas run and have its clone run with --on-lost-primary recover; to give these data \
         up, delete this pod's volume"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_of_a_primary_that_was_recovered_without_gtids_are_told_one_thing() {
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

//! All that is known of this pod at one moment: plain data, and the form of `/status`.

use std::time::Instant;

use serde::Serialize;

use crate::datadir::journal::{ApplierFault, BrokenReplication, CloneRecord, State};
use crate::model::event::{Cause, Event};
use crate::model::identity::{Lineage, SetId};
use crate::model::ordinal::Role;
use crate::server::status::ReplicationStatus;

/// All that is known. Also the format of `/status`.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    pub pod: String,
    pub role: Role,
    /// The server's version, while it answers.
    pub server: Option<String>,
    /// Whether the sidecar has checked and corrected the server since its latest start.
    pub settled: bool,
    pub state: Option<State>,
    pub set_id: Option<SetId>,
    /// The latest recovery of the primary that the data include.
    pub lineage: Option<Lineage>,
    pub clone: Option<CloneRecord>,
    pub replication: Option<ReplicationStatus>,
    /// Why replication is broken, if it is.
    pub broken: Option<BrokenReplication>,
    /// Where the applier stopped with an error, until it has applied beyond that place.
    pub applier_fault: Option<ApplierFault>,
    /// Why the primary must not be followed: it has data of another set.
    pub foreign_source: Option<String>,
    /// Why it is still unknown whether the primary may be followed.
    pub silent_source: Option<String>,
    /// When its receiver was first held back for that, in seconds since 1970.
    pub held_back_since: Option<u64>,
    /// Whether that exceeds the limit for readiness.
    #[serde(skip)]
    pub held_back_too_long: bool,
    /// Why the applier waits for an acknowledgement from a replica, if it does.
    pub unacknowledged: Option<Cause>,
    /// Whether that exceeds the limit for readiness.
    #[serde(skip)]
    pub unacknowledged_too_long: bool,
    /// Why the source has refused this replica for too long, if it has.
    pub refused: Option<Cause>,
    /// The lasting obstacle to copying this server, if there is one.
    pub unfit_to_donate: Option<String>,
    /// Whether a clone is being served.
    pub donating: bool,
    /// When it began, in seconds since 1970.
    pub donating_since: Option<u64>,
    /// The present trouble, described for people.
    pub trouble: Option<Cause>,
    /// Starts of the server since the sidecar's own start.
    pub server_starts: u64,
    #[serde(skip)]
    pub(super) observed: Option<Instant>,
}

impl Snapshot {
    /// Before anything was seen.
    pub fn new(pod: String, role: Role) -> Snapshot {
        Snapshot {
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
            trouble: Some(Event::ServerSilent.because("waiting for the server's first answer")),
            server_starts: 0,
            observed: None,
        }
    }
}

//! All that is known of this pod at one moment: plain data, and the form of `/status`.

use std::time::Instant;

use serde::Serialize;

use crate::datadir::journal::{ApplierFault, BrokenReplication, CloneRecord, State};
use crate::model::event::{Cause, Event};
use crate::model::identity::{Lineage, SetId};
use crate::model::ordinal::Role;
use crate::server::status::ReplicationStatus;

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
            trouble: Some(Event::ServerSilent.because("the server has not answered yet")),
            server_starts: 0,
            observed: None,
        }
    }
}

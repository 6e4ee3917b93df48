//! The journal: one small file that records the state of a data directory and the origin of its data.

mod clone_record;
mod fault;
mod file;
mod why;

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::configured_places::Placed;
use crate::datadir::received_log::ReceivedLog;
use crate::model::identity::{Lineage, SetId};
use crate::model::position::Position;
pub use clone_record::{CloneRecord, ListedBy, PluginCopy, Unproven};
pub use fault::ApplierFault;
pub use why::Why;

/// The journal's name, in a data directory and in a stage.
pub const FILE_NAME: &str = ".mysqlset.json";

/// The form of the journal that this program writes. A larger number in a file is refused.
const VERSION: u32 = 1;

/// A data directory's state; see the drawing in [`crate::datadir`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum State {
    /// Ordinal 0 only: the server's image is about to create, or is creating, a new database.
    Initialising,
    /// A whole database in its own right, such as the primary's.
    Complete,
    /// A backup is arriving in the stage and is worthless until its end is checked.
    Receiving,
    /// A whole backup is in the stage, checked and synced.
    Received,
    /// The backup tool works on the stage.
    Preparing,
    /// The backup tool is done, as far as its output tells; the copy is being proven.
    Prepared,
    /// A prepared copy is being moved into the data directory.
    Publishing,
    /// A prepared copy is in the data directory; replication has yet to start from it.
    Published,
    /// The server knows its source and position; replication was started, or is about to be.
    Configured,
    /// Replication has run.
    Replicating,
}

/// Replication that cannot continue by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenReplication {
    pub why: Why,
    /// The server's error text.
    pub text: String,
    /// When it was first seen, in seconds since 1970.
    pub since: u64,
    /// What the data hold, applied and fetched. Only a primary's data that include all of it may replace them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reached: Vec<Position>,
    /// Everything that the server has ever written to its binary log.
    #[serde(default)]
    pub history: String,
}

/// The journal's content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Journal {
    version: u32,
    pub state: State,
    /// When this state was entered, in seconds since 1970.
    pub since: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_id: Option<SetId>,
    /// The ordinal of the pod that owns these data. Earlier versions left it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordinal: Option<u32>,
    /// The latest recovery of the primary that these data are known to include.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<Lineage>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clone: Option<CloneRecord>,
    /// Published only: the source that came with the data was forgotten, so the server's source is ours.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub source_forgotten: bool,
    /// Replicas: replication is broken. Cleared once it runs again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<BrokenReplication>,
    /// Replicas: the applier stopped with an error, and has yet to apply beyond that place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applier_fault: Option<ApplierFault>,
    /// When these data replaced those of a replica with broken replication, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloned_again_at: Option<u64>,
    /// How often preparing the staged backup was attempted.
    #[serde(default)]
    pub prepare_attempts: u32,
    /// How many earlier backups failed to prepare.
    #[serde(default)]
    pub failed_backups: u32,
    /// The log that was received with the staged backup, as it was before the first prepare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_log: Option<ReceivedLog>,
    /// How often the memory for a prepare was halved, because one was killed with more. Also holds for the next backup.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub memory_halvings: u32,
    /// The latest prepare was skipped or ended because we were told to stop, so neither the backup nor its memory was
    /// at fault.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub told_to_stop: bool,
    /// A server that may write is changing the copy's events, these among them; the change is still to be reported. If
    /// that server is killed, its remains are unfit for a read-only server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changing_events: Option<Vec<String>>,
    /// Publishing: the names at the copy's top. Each of them must still exist, in the stage or in the data directory.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub names: BTreeSet<String>,
    /// Files that were moved to their configured places when the copy was proven.
    #[serde(default, skip_serializing_if = "Placed::is_nothing")]
    pub placed: Placed,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Journal {
    /// A journal with a state and nothing else.
    pub fn new(state: State) -> Journal {
        Journal {
            version: VERSION,
            state,
            since: now(),
            set_id: None,
            ordinal: None,
            lineage: None,
            clone: None,
            source_forgotten: false,
            broken: None,
            applier_fault: None,
            cloned_again_at: None,
            prepare_attempts: 0,
            failed_backups: 0,
            received_log: None,
            memory_halvings: 0,
            told_to_stop: false,
            changing_events: None,
            names: BTreeSet::new(),
            placed: Placed::default(),
        }
    }

    /// The journal while a backup arrives. It keeps one lesson from earlier backups: how much memory is too much.
    pub fn receiving(memory_halvings: u32) -> Journal {
        Journal { memory_halvings, ..Journal::new(State::Receiving) }
    }

    /// Records, if `is_so`, that the next prepare gets half as much memory. The file keeps the earlier value until the
    /// next write.
    pub fn halve_memory(&mut self, is_so: bool) {
        self.memory_halvings = self.memory_halvings.saturating_add(u32::from(is_so));
    }

    /// The same data in another state.
    pub fn entering(&self, state: State) -> Journal {
        Journal { state, since: now(), ..self.clone() }
    }

    /// Whether the journal speaks for a whole backup that is still outside the data directory.
    pub fn has_whole_backup(&self) -> bool {
        matches!(self.state, State::Received | State::Preparing | State::Prepared | State::Publishing)
    }

    /// Whether the journal describes an unpublished copy.
    pub fn is_of_a_clone(&self) -> bool {
        self.state == State::Receiving || self.has_whole_backup()
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

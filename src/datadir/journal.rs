//! The journal: one small file that says in which state a data directory is, and where its data came from.

mod clone_record;
mod fault;
mod file;
mod why;

use std::collections::BTreeSet;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::named_places::Placed;
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Ordinal 0 only: the server's image is about to create, or is creating, a new database.
    Initialising,
    /// A whole database that is nobody's clone.
    Complete,
    /// A backup is arriving in the stage; whatever is there is worth nothing.
    Receiving,
    /// A whole backup is in the stage, checked and synced.
    Received,
    /// The backup tool works on the stage.
    Preparing,
    /// The backup tool is done, as far as its output tells; the copy is being proven.
    Prepared,
    /// A prepared copy is being moved into the data directory.
    Publishing,
    /// A prepared copy is in the data directory; replication was never started from it.
    Published,
    /// The server knows its source and position; replication was started, or is about to be.
    Configured,
    /// Replication ran.
    Replicating,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Initialising => "initialising",
            State::Complete => "complete",
            State::Receiving => "receiving",
            State::Received => "received",
            State::Preparing => "preparing",
            State::Prepared => "prepared",
            State::Publishing => "publishing",
            State::Published => "published",
            State::Configured => "configured",
            State::Replicating => "replicating",
        })
    }
}

/// Replication that can't go on by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenReplication {
    pub why: Why,
    /// The server's own words.
    pub text: String,
    /// When it was first seen, in seconds since 1970.
    pub since: u64,
    /// What the data hold, applied and fetched: they are replaced only by a primary's that has all of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reached: Vec<Position>,
    /// All that the server ever wrote to its binary log.
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
    /// Whose data these are in their set: the pod's ordinal. Earlier versions named nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordinal: Option<u32>,
    /// The latest recovery of the primary that these data are known to have gone along with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<Lineage>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clone: Option<CloneRecord>,
    /// Published only: the source that came with the data was forgotten, so what the server has is ours.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub source_forgotten: bool,
    /// Replicas: replication can't go on. Gone again when it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<BrokenReplication>,
    /// Replicas: the applier stopped at an error, and has not applied beyond that place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applier_fault: Option<ApplierFault>,
    /// When these data took the place of a replica's whose replication was broken, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloned_again_at: Option<u64>,
    /// How often it was tried to prepare what is staged.
    #[serde(default)]
    pub prepare_attempts: u32,
    /// How many backups before this one could not be prepared.
    #[serde(default)]
    pub failed_backups: u32,
    /// The log that was received with what is staged, as it was before the first prepare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_log: Option<ReceivedLog>,
    /// How often the memory for a prepare was halved, because one was killed with more. Holds for the next backup too.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub memory_halvings: u32,
    /// The latest try to prepare did not begin, or was ended because we were told to stop: neither the backup nor its memory
    /// was at fault.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub told_to_stop: bool,
    /// A server that may write is changing the copy's events, these among them; which is still to be told. No read-only
    /// server can start on what that one leaves when it is killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changing_events: Option<Vec<String>>,
    /// Publishing: the names at the copy's top. All of them must be there still, in the stage or in the data directory.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub names: BTreeSet<String>,
    /// What was put where the server's configuration had it when the copy was proven.
    #[serde(default, skip_serializing_if = "Placed::is_nothing")]
    pub placed: Placed,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Journal {
    /// A journal that has nothing to tell but its state.
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

    /// What is said while a backup arrives: of what was learnt from earlier ones, how much memory is too much.
    pub fn receiving(memory_halvings: u32) -> Journal {
        Journal { memory_halvings, ..Journal::new(State::Receiving) }
    }

    /// Takes note that the next prepare is to have half as much memory, where that is so. A file says what was before.
    pub fn halve_memory(&mut self, is_so: bool) {
        self.memory_halvings = self.memory_halvings.saturating_add(u32::from(is_so));
    }

    /// The same data in another state.
    pub fn entering(&self, state: State) -> Journal {
        Journal { state, since: now(), ..self.clone() }
    }

    /// Whether what it speaks for is a whole backup that is not in the data directory yet.
    pub fn has_whole_backup(&self) -> bool {
        matches!(self.state, State::Received | State::Preparing | State::Prepared | State::Publishing)
    }

    /// Whether it tells of a copy that is not published yet.
    pub fn is_of_a_clone(&self) -> bool {
        self.state == State::Receiving || self.has_whole_backup()
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

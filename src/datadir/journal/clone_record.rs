//! The journal's record of a clone: its origin, its contents, and the gaps in its proof.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::model::position::Position;
use crate::protocol::message::InventoryEnd;
use crate::server::plugin::PositionIn;

/// The origin and contents of a clone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CloneRecord {
    /// The donor's address.
    pub donor: String,
    /// The donor's name in the set, as the donor reported it.
    pub donor_pod: String,
    /// The maker of the copy, with its version: a backup tool, or MySQL's CLONE plugin.
    pub tool: String,
    /// Bytes received.
    pub bytes: u64,
    /// Seconds from the donor's offer to the copy's end.
    pub seconds: f64,
    /// When its completeness was confirmed, in seconds since 1970.
    pub received_at: u64,
    /// Where replication starts. A copy by the plugin reveals it only after a server was started on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// For copies by MySQL's CLONE plugin: what a server needs to start on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<PluginCopy>,
    /// Gaps in the proof by the backup tool's own output. Such a copy is published only when every other check has
    /// passed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unproven: Vec<Unproven>,
    /// The inventory that proves the copy whole.
    #[serde(default)]
    pub inventory: ListedBy,
}

/// What became of the donor's inventory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListedBy {
    /// The copy was received by a version of mysqlset before inventories.
    #[default]
    Nobody,
    /// A legacy stream brings none.
    LegacyStream,
    /// It lies in the stage until the copy is published.
    Donor(InventoryEnd),
}

/// The gaps that a prepare's output can leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unproven {
    /// Whether any line reports damage: the output lines of this tool are unknown.
    PrepareWords,
    /// Whether all of the backup's log was applied: this tool leaves out how far it came.
    PrepareEnd,
}

impl fmt::Display for Unproven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unproven::PrepareWords => "the output lines of this version of the backup tool are unknown",
            Unproven::PrepareEnd => {
                "this version of the backup tool does not report how far it applied the backup's log"
            }
        })
    }
}

impl CloneRecord {
    /// Where replication starts, for a prepared copy.
    pub fn position(&self) -> Result<&Position> {
        self.position.as_ref().context("the journal lacks the position where the clone's replication starts")
    }
}

/// A copy by MySQL's CLONE plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PluginCopy {
    /// Where its position is stored.
    pub position_in: PositionIn,
    /// Names and values of the donor's settings that a server needs to start on it.
    pub settings: BTreeMap<String, String>,
}

//! What the journal says of a clone: where it came from, what came with it, and what is not proven of it.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::model::position::Position;
use crate::protocol::message::InventoryEnd;
use crate::server::plugin::PositionIn;

/// Where a clone came from and what came with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CloneRecord {
    /// The donor's address.
    pub donor: String,
    /// The donor's name in the set, as it gave it.
    pub donor_pod: String,
    /// What made the copy, with its version: a backup tool, or MySQL's CLONE plugin.
    pub tool: String,
    /// Bytes that came.
    pub bytes: u64,
    /// Seconds from the donor's offer to the copy's end.
    pub seconds: f64,
    /// When it was known to be whole, in seconds since 1970.
    pub received_at: u64,
    /// Where replication starts. A copy by the plugin does not say it before a server was started on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// Where the copy was made by MySQL's CLONE plugin: what a server needs to be started on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<PluginCopy>,
    /// What the backup tool's own output does not prove. Such a copy is published only when every other check has passed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unproven: Vec<Unproven>,
    /// By what list of the donor's it is proven whole.
    #[serde(default)]
    pub inventory: ListedBy,
}

/// What came of the donor's inventory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListedBy {
    /// A version of mysqlset received the copy that did not ask for one.
    #[default]
    Nobody,
    /// A legacy stream brings none.
    LegacyStream,
    /// It lies in the stage until the copy is published.
    Donor(InventoryEnd),
}

/// What a prepare's output can leave open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unproven {
    /// That no line speaks against the copy: this tool's words are not known.
    PrepareWords,
    /// That all of the backup's log was applied: this tool does not say how far it came.
    PrepareEnd,
}

impl fmt::Display for Unproven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unproven::PrepareWords => "this version of the backup tool has words of its own, which are not known",
            Unproven::PrepareEnd => "this version of the backup tool does not say how far it applied the backup's log",
        })
    }
}

impl CloneRecord {
    /// Where replication starts, of a copy that was prepared.
    pub fn position(&self) -> Result<&Position> {
        self.position.as_ref().context("the journal does not say where the clone's replication starts")
    }
}

/// A copy by MySQL's CLONE plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PluginCopy {
    /// Where its position stands.
    pub position_in: PositionIn,
    /// The donor's settings without which no server can be started on it, by name.
    pub settings: BTreeMap<String, String>,
}

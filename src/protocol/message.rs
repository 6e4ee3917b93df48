//! What donor and recipient say to each other, as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::digest::Coverage;
use super::text::{one_line, one_line_by_name, one_line_each, one_line_if_any};
use crate::model::event::Event;
use crate::model::identity::{Lineage, SetId};
use crate::model::position::Position;
use crate::unpack::Format;
use crate::unpack::compressed::Compression;

/// Recipient → donor: who asks, and what it can take.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Hello {
    /// The StatefulSet's name.
    #[serde(deserialize_with = "one_line")]
    pub set: String,
    /// The recipient's ordinal.
    pub ordinal: u32,
    /// 32 random bytes in hexadecimal.
    pub nonce: String,
    /// Formats that the recipient can unpack, by name: a newer recipient may know more than this donor.
    #[serde(deserialize_with = "one_line_each")]
    pub formats: Vec<String>,
    /// Compressions of members that the recipient can undo, by name: none where it doesn't say.
    #[serde(default, deserialize_with = "one_line_each")]
    pub members: Vec<String>,
    /// The identity of the data that the recipient had, where it had any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_id: Option<SetId>,
    /// The series of the tool that the recipient would prepare with: `10.11`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "one_line_if_any")]
    pub tool_series: Option<String>,
    /// Bytes that the recipient's volume has room for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_bytes: Option<u64>,
    /// The version of the server with which the recipient can copy the donor's by MySQL's CLONE plugin, where it can.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "one_line_if_any")]
    pub plugin_server: Option<String>,
    /// InnoDB's page size that the recipient's server is configured for, where its configuration says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_size: Option<u64>,
    /// `lower_case_table_names` of the recipient's server, where its configuration says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower_case_table_names: Option<u8>,
    /// Whether the recipient reaches the keys of encrypted data.
    #[serde(default)]
    pub keyring: bool,
    /// What digests it can check beside one of the whole stream, by name. (Absent: no other)
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "one_line_each")]
    pub digests: Vec<String>,
    /// Whether it takes packed frames, and packed how. (Absent: no)
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "one_line_each")]
    pub packing: Vec<String>,
    /// How an inventory may be encoded that it asks for. (Absent: it asks for none)
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "one_line_each")]
    pub inventory: Vec<String>,
    #[serde(default)]
    pub wants: Wants,
    /// With [`Wants::Report`]: can replication start from here?
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<Position>,
    /// With [`Wants::Report`]: is there something in this history that you don't have? (MariaDB's binary log state, or a
    /// MySQL GTID set.)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<String>,
}

impl Hello {
    /// The asking pod's name.
    pub fn pod(&self) -> String {
        format!("{}-{}", self.set, self.ordinal)
    }
}

/// What a peer asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wants {
    /// A clone, for a replica.
    #[default]
    Clone,
    /// A clone for a primary that lost its data, from a replica whose source is gone.
    Recovery,
    /// Only to be told what the other is: a [`Report`] and no clone.
    Report,
    /// Something that this version doesn't know. It is refused.
    #[serde(other)]
    Unknown,
}

/// What a sidecar says about its pod.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    #[serde(deserialize_with = "one_line")]
    pub pod: String,
    pub ordinal: u32,
    /// The identity of its data, where they have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_id: Option<SetId>,
    /// The latest recovery of the primary that its data went along with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<Lineage>,
    /// Whether its volume holds a database, whatever its server does.
    pub has_data: bool,
    /// The server's version, while it answers.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "one_line_if_any")]
    pub server: Option<String>,
    /// What its data hold, as a position in the source's history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<Position>,
    /// What it has fetched of the source's log, applied or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetched: Option<Position>,
    /// Why replication can't start from the position asked about; empty where it can, absent where nothing was asked
    /// or the answer isn't known.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "one_line_if_any")]
    pub cannot_follow: Option<String>,
    /// Of the history asked about, what isn't known here; empty where all is, absent as above.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "one_line_if_any")]
    pub unknown_history: Option<String>,
    /// Where its applier stopped at an error, until it has applied beyond that place.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "one_line_if_any")]
    pub applier_fault: Option<String>,
    /// A setting by which it lacks a part of what the set has, or keeps one from the others; absent where there is none, or
    /// where the server doesn't answer.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "one_line_if_any")]
    pub left_out: Option<String>,
}

/// Donor → recipient: what must be proven before anything is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Challenge {
    /// 32 random bytes in hexadecimal.
    pub nonce: String,
    /// Whether the recipient must prove that it knows the secret.
    pub proof: bool,
}

/// Either to the other: an HMAC in hexadecimal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Proof {
    pub hmac: String,
}

/// Donor → recipient: a backup is on its way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Offer {
    /// The donor's pod: `mysql-1`.
    #[serde(deserialize_with = "one_line")]
    pub pod: String,
    pub ordinal: u32,
    pub format: Format,
    /// What the digest at the end will cover; one of those that the hello names.
    #[serde(default)]
    pub digest: Coverage,
    /// How the members are compressed, where they are: as the hello allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<Compression>,
    /// Whether frames may come packed; as the hello allows.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "one_line_if_any")]
    pub packing: Option<String>,
    /// About how many bytes the backup will have: what lies in the data directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_bytes: Option<u64>,
    /// How many of InnoDB's files there are: prepare keeps all of them open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// The length of the longest file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub largest_file: Option<u64>,
    /// How the inventory is encoded that comes behind the backup; one of those that the hello names. (Absent: none comes)
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "one_line_if_any")]
    pub inventory: Option<String>,
    /// The backup tool's name and version.
    #[serde(deserialize_with = "one_line")]
    pub tool: String,
    /// The server's version, as it says it.
    #[serde(deserialize_with = "one_line")]
    pub server: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_id: Option<SetId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<Lineage>,
    /// The longest that the donor will be silent, in seconds.
    pub heartbeat_seconds: u64,
}

/// Donor → recipient: a copy may be taken from the server itself, by MySQL's CLONE plugin, while this connection lasts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PluginOffer {
    /// The donor's pod: `mysql-1`.
    #[serde(deserialize_with = "one_line")]
    pub pod: String,
    pub ordinal: u32,
    /// The port of the donor's server, at the donor's address.
    pub server_port: u16,
    /// The account to come as. Its password follows from the clone secret ([`crate::protocol::auth::password_of_plugin`]).
    #[serde(deserialize_with = "one_line")]
    pub user: String,
    /// The server's version, as it says it.
    #[serde(deserialize_with = "one_line")]
    pub server: String,
    /// Whether the donor's server has GTID on: then the set that the copy holds is its position.
    pub by_gtid: bool,
    /// Settings that the recipient's own server must share, by name.
    #[serde(default, deserialize_with = "one_line_by_name")]
    pub settings: BTreeMap<String, String>,
    /// Libraries of the plugins that are active there: those must be active on the recipient's own server too.
    #[serde(default)]
    pub libraries: Vec<String>,
    /// The most that the copy may take, in bytes a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<u64>,
    /// Whether the copy is to be compressed on its way.
    #[serde(default)]
    pub compressed: bool,
    /// How the inventory is encoded that comes once the copy is there; as in an [`Offer`].
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "one_line_if_any")]
    pub inventory: Option<String>,
    /// About how many bytes the copy will have: what lies in the data directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_bytes: Option<u64>,
    /// The length of the longest file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub largest_file: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_id: Option<SetId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<Lineage>,
    /// The longest that the donor will be silent, in seconds.
    pub heartbeat_seconds: u64,
}

/// Recipient → donor: the copy that was offered is there, whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Copied {
    /// Bytes that came over the network.
    pub bytes: u64,
}

/// Why a donor gives nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// Another clone is running.
    Busy,
    /// The server is not up, or not fit to be copied just now.
    NotReady,
    /// The sidecar is about to stop.
    Stopping,
    /// The recipient belongs to another set.
    WrongSet,
    /// The recipient has not proven that it knows the secret, or the donor gives to nobody.
    Unauthorised,
    /// The two have no version or format in common.
    Unsupported,
    /// The recipient's volume is too small for a copy.
    NoRoom,
    /// A reason that this version doesn't know.
    #[serde(other)]
    Other,
}

impl Why {
    /// Whether asking again later can help.
    pub fn may_pass(self) -> bool {
        matches!(self, Why::Busy | Why::NotReady | Why::Stopping)
    }

    /// The reason's name, for metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Why::Busy => "busy",
            Why::NotReady => "not-ready",
            Why::Stopping => "stopping",
            Why::WrongSet => "wrong-set",
            Why::Unauthorised => "unauthorised",
            Why::Unsupported => "unsupported",
            Why::NoRoom => "no-room",
            Why::Other => "other",
        }
    }
}

/// Donor → recipient: no.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Refusal {
    pub why: Why,
    /// The event's name. (Absent: from a donor before 0.2.0)
    #[serde(default, deserialize_with = "one_line")]
    pub event: String,
    /// For people.
    #[serde(deserialize_with = "one_line")]
    pub text: String,
    /// When to come back, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

impl Refusal {
    /// One that lasts.
    pub fn new(event: Event, why: Why, text: impl fmt::Display) -> Refusal {
        Refusal { why, event: event.name().to_owned(), text: text.to_string(), retry_after: None }
    }

    /// One that may be over in so many seconds.
    pub fn passing(event: Event, why: Why, text: impl fmt::Display, retry_after: u64) -> Refusal {
        Refusal { retry_after: Some(retry_after), ..Refusal::new(event, why, text) }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.event.is_empty() { self.why.name() } else { &self.event };
        write!(f, "{name}: {}", self.text)
    }
}

/// Donor → recipient: still there. And back, while a copy is fetched by the plugin.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Bytes of the backup stream sent so far, or of the copy that have come; 0 from a donor that doesn't see it.
    pub bytes: u64,
}

/// Donor → recipient: that was all of it, and it is good.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct End {
    /// Bytes of the backup stream.
    pub bytes: u64,
    /// XXH3-128 of what the offer's `digest` says, in hexadecimal.
    #[serde(deserialize_with = "one_line")]
    pub digest: String,
    /// The backup tool's exit status: always 0.
    pub tool_status: i32,
    /// The binary log position as the tool reported it, for people.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "one_line_if_any")]
    pub position: Option<String>,
    /// What the inventory's frames held, where it was offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<InventoryEnd>,
}

/// All of an inventory's frames.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryEnd {
    pub bytes: u64,
    /// XXH3-128 of all of them, in hexadecimal.
    #[serde(deserialize_with = "one_line")]
    pub digest: String,
}

/// Donor → recipient: what was sent is worth nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failed {
    #[serde(deserialize_with = "one_line")]
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::text::TEXT_LIMIT;

    #[test]
    fn a_peers_text_is_one_short_line() {
        let failed: Failed = serde_json::from_str(r#"{"text":"a\nERROR b\u001b[31m"}"#).unwrap();
        assert_eq!(failed.text, "a ERROR b [31m");
        let long = format!(r#"{{"why":"busy","text":"{}"}}"#, "x".repeat(5000));
        let refusal: Refusal = serde_json::from_str(&long).unwrap();
        assert_eq!(refusal.text.len(), TEXT_LIMIT);
    }

    #[test]
    fn unknown_members_and_reasons_of_a_newer_peer_are_borne() {
        let refusal: Refusal = serde_json::from_str(r#"{"why":"full-moon","text":"x","colour":"blue"}"#).unwrap();
        assert_eq!(refusal.why, Why::Other);
        assert!(!refusal.why.may_pass());
    }
}

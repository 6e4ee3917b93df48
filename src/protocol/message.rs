//! The JSON messages between donor and recipient.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::digest::Coverage;
use super::text::{one_line, one_line_by_name, one_line_each, one_line_if_any};
use crate::model::event::Event;
use crate::model::identity::{Lineage, SetId};
use crate::model::position::Position;
use crate::unpack::Format;

/// Recipient → donor: the identity and the abilities of the recipient.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Hello {
    /// The StatefulSet's name.
    #[serde(deserialize_with = "one_line")]
    pub set: String,
    /// The recipient's ordinal.
    pub ordinal: u32,
    /// 32 random bytes in hexadecimal.
    pub nonce: String,
    /// Names of the formats that the recipient can unpack. A newer recipient may list names unknown to this donor.
    #[serde(deserialize_with = "one_line_each")]
    pub formats: Vec<String>,
    /// The set id of the recipient's earlier data, if it had any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_id: Option<SetId>,
    /// The series of the tool for the recipient's prepare: `10.11`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "one_line_if_any")]
    pub tool_series: Option<String>,
    /// Free bytes on the recipient's volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_bytes: Option<u64>,
    /// The version of the recipient's own server, if it can copy the donor's by MySQL's CLONE plugin.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "one_line_if_any")]
    pub plugin_server: Option<String>,
    /// InnoDB's page size in the configuration of the recipient's server, if it sets one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_size: Option<u64>,
    /// `lower_case_table_names` in the configuration of the recipient's server, if it sets one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower_case_table_names: Option<u8>,
    /// Whether the recipient has access to the keys of encrypted data.
    #[serde(default)]
    pub keyring: bool,
    /// Names of the digests that it can check beside one of the whole stream. (Absent: none)
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "one_line_each")]
    pub digests: Vec<String>,
    /// Names of the packings of frames that it accepts. (Absent: none)
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "one_line_each")]
    pub packing: Vec<String>,
    /// Encodings of an inventory that it accepts. (Absent: it wants no inventory)
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "one_line_each")]
    pub inventory: Vec<String>,
    #[serde(default)]
    pub wants: Wants,
    /// With [`Wants::Report`]: asks whether replication can start from this position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<Position>,
    /// With [`Wants::Report`]: asks for the transactions in this history that the peer lacks. (MariaDB's binary
    /// log state, or a MySQL GTID set.)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<String>,
}

impl Hello {
    /// The asking pod's name.
    pub fn pod(&self) -> String {
        format!("{}-{}", self.set, self.ordinal)
    }
}

/// The kind of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wants {
    /// A clone, for a replica.
    #[default]
    Clone,
    /// A clone for a primary that lost its data, from a replica whose source is gone.
    Recovery,
    /// A [`Report`] only, without a clone.
    Report,
    /// A request of a newer version. It is refused.
    #[serde(other)]
    Unknown,
}

/// The state of a sidecar's pod.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    #[serde(deserialize_with = "one_line")]
    pub pod: String,
    pub ordinal: u32,
    /// The set id of its data, if they have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_id: Option<SetId>,
    /// The latest recovery of the primary that its data include.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<Lineage>,
    /// Whether its volume holds a database, regardless of its server.
    pub has_data: bool,
    /// The server's version, while it answers.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "one_line_if_any")]
    pub server: Option<String>,
    /// The position of its data in the source's history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<Position>,
    /// The position up to which it has fetched the source's log, applied or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetched: Option<Position>,
    /// Why replication cannot start from the position in question. Empty if it can. Absent if the hello asked for
    /// none, or the answer is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "one_line_if_any")]
    pub cannot_follow: Option<String>,
    /// The transactions of the history in question that are unknown here. Empty if all are known, absent as
    /// above.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "one_line_if_any")]
    pub unknown_history: Option<String>,
    /// Where its applier stopped with an error, until it has applied beyond that place.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "one_line_if_any")]
    pub applier_fault: Option<String>,
    /// A setting by which it lacks a part of the set's data, or hides one from the others. Absent if there is
    /// none, or if the server is silent.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "one_line_if_any")]
    pub left_out: Option<String>,
}

/// Donor → recipient: whether a proof is required before the donor serves.
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

/// Donor → recipient: a backup follows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Offer {
    /// The donor's pod: `mysql-1`.
    #[serde(deserialize_with = "one_line")]
    pub pod: String,
    pub ordinal: u32,
    pub format: Format,
    /// The coverage of the digest at the end. One of those in the hello.
    #[serde(default)]
    pub digest: Coverage,
    /// The packing of frames, if any. One of those in the hello.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "one_line_if_any")]
    pub packing: Option<String>,
    /// Roughly how many bytes the backup will have: the size of the data directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_bytes: Option<u64>,
    /// The number of InnoDB files. Prepare keeps all of them open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// The length of the longest file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub largest_file: Option<u64>,
    /// The encoding of the inventory after the backup. One of those in the hello. (Absent: no inventory follows)
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "one_line_if_any")]
    pub inventory: Option<String>,
    /// The backup tool's name and version.
    #[serde(deserialize_with = "one_line")]
    pub tool: String,
    /// The server's version, in its own spelling.
    #[serde(deserialize_with = "one_line")]
    pub server: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_id: Option<SetId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<Lineage>,
    /// The donor's longest silence, in seconds.
    pub heartbeat_seconds: u64,
}

/// Donor → recipient: MySQL's CLONE plugin may copy the server while this connection lasts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PluginOffer {
    /// The donor's pod: `mysql-1`.
    #[serde(deserialize_with = "one_line")]
    pub pod: String,
    pub ordinal: u32,
    /// The port of the donor's server, at the donor's address.
    pub server_port: u16,
    /// The account to log in as. Its password follows from the clone secret
    /// ([`crate::protocol::auth::password_of_plugin`]).
    #[serde(deserialize_with = "one_line")]
    pub user: String,
    /// The server's version, in its own spelling.
    #[serde(deserialize_with = "one_line")]
    pub server: String,
    /// Whether the donor's server has GTIDs on. The position of the copy is then its GTID set.
    pub by_gtid: bool,
    /// Names and values of the settings that the recipient's own server must share.
    #[serde(default, deserialize_with = "one_line_by_name")]
    pub settings: BTreeMap<String, String>,
    /// Libraries of the plugins that are active there. The recipient's own server needs them too.
    #[serde(default)]
    pub libraries: Vec<String>,
    /// The rate limit of the copy, in bytes a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<u64>,
    /// Whether the copy is compressed on the wire.
    #[serde(default)]
    pub compressed: bool,
    /// The encoding of the inventory after the copy, as in an [`Offer`].
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "one_line_if_any")]
    pub inventory: Option<String>,
    /// Roughly how many bytes the copy will have: the size of the data directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_bytes: Option<u64>,
    /// The length of the longest file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub largest_file: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_id: Option<SetId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<Lineage>,
    /// The donor's longest silence, in seconds.
    pub heartbeat_seconds: u64,
}

/// Recipient → donor: the offered copy has arrived completely.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Copied {
    /// Bytes received over the network.
    pub bytes: u64,
}

/// Why a donor refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", const_into_str)]
pub enum Why {
    /// Another clone is running.
    Busy,
    /// The server is down, or unfit to be copied at present.
    NotReady,
    /// The sidecar is about to stop.
    Stopping,
    /// The recipient belongs to another set.
    WrongSet,
    /// The recipient's proof is missing or wrong, or the donor serves no clones.
    Unauthorised,
    /// The two have no version or format in common.
    Unsupported,
    /// The recipient's volume is too small for a copy.
    NoRoom,
    /// A reason of a newer version.
    #[serde(other)]
    Other,
}

impl Why {
    /// Whether a later attempt may succeed.
    pub fn may_pass(self) -> bool {
        matches!(self, Why::Busy | Why::NotReady | Why::Stopping)
    }
}

/// Donor → recipient: the request is refused.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Refusal {
    pub why: Why,
    /// The event's name. (Absent: from a donor before 0.2.0)
    #[serde(default, deserialize_with = "one_line")]
    pub event: String,
    /// For people.
    #[serde(deserialize_with = "one_line")]
    pub text: String,
    /// When to try again, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

impl Refusal {
    /// A lasting refusal.
    pub fn new(event: Event, why: Why, text: impl fmt::Display) -> Refusal {
        Refusal { why, event: event.name().to_owned(), text: text.to_string(), retry_after: None }
    }

    /// A refusal that may be over after this many seconds.
    pub fn passing(event: Event, why: Why, text: impl fmt::Display, retry_after: u64) -> Refusal {
        Refusal { retry_after: Some(retry_after), ..Refusal::new(event, why, text) }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.event.is_empty() { self.why.into_str() } else { &self.event };
        write!(f, "{name}: {}", self.text)
    }
}

/// Donor → recipient: the donor is alive. The recipient sends it too, while the plugin fetches a copy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Bytes of the backup stream sent so far, or bytes of the copy received. 0 from a donor that cannot see
    /// them.
    pub bytes: u64,
}

/// Donor → recipient: the stream is complete and good.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct End {
    /// Bytes of the backup stream.
    pub bytes: u64,
    /// XXH3-128 over the coverage in the offer's `digest`, in hexadecimal.
    #[serde(deserialize_with = "one_line")]
    pub digest: String,
    /// The backup tool's exit status: always 0.
    pub tool_status: i32,
    /// The binary log position from the tool's output, for people.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "one_line_if_any")]
    pub position: Option<String>,
    /// Size and digest of the inventory, if one was offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<InventoryEnd>,
}

/// Sums over all frames of an inventory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryEnd {
    pub bytes: u64,
    /// XXH3-128 of all of them, in hexadecimal.
    #[serde(deserialize_with = "one_line")]
    pub digest: String,
}

/// Donor → recipient: the stream is worthless.
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
    fn unknown_members_and_reasons_of_a_newer_peer_are_accepted() {
        let refusal: Refusal = serde_json::from_str(r#"{"why":"full-moon","text":"x","colour":"blue"}"#).unwrap();
        assert_eq!(refusal.why, Why::Other);
        assert!(!refusal.why.may_pass());
    }
}

//! Why a replica's replication can't go on, and what mends it.

use serde::{Deserialize, Serialize};

/// What keeps a replica's replication from going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// The source no longer has what comes after this replica's position.
    SourcePurged,
    /// The source does not have all that this replica has.
    AheadOfSource,
    /// The source can't read its own log.
    SourceLogDamaged,
    /// An event is longer than one of both servers takes.
    PacketTooLarge,
    /// Another server came to the source with this one's server id or UUID.
    SameServerId,
    /// The source refuses for another reason.
    SourceRefuses,
    /// What was fetched and not yet applied can't be read, nor how far it was applied.
    RelayLogsLost,
}

const CLONE_AGAIN: &str = "the data are kept as they are; delete the pod to clone it again where its clone has \
    --on-broken-replica clone-again, else delete its volume too";

impl Why {
    /// The reason's name, for metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Why::SourcePurged => "source-purged",
            Why::AheadOfSource => "ahead-of-source",
            Why::SourceLogDamaged => "source-log-damaged",
            Why::PacketTooLarge => "packet-too-large",
            Why::SameServerId => "same-server-id",
            Why::SourceRefuses => "source-refuses",
            Why::RelayLogsLost => "relay-logs-lost",
        }
    }

    /// Whether another clone of the primary goes on where these data can't.
    pub fn is_mended_by_clone(self) -> bool {
        match self {
            Why::SourcePurged | Why::SourceLogDamaged | Why::RelayLogsLost => true,
            Why::AheadOfSource | Why::PacketTooLarge | Why::SameServerId | Why::SourceRefuses => false,
        }
    }

    /// What a user does about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Why::SourcePurged | Why::RelayLogsLost => CLONE_AGAIN,
            Why::SourceLogDamaged => {
                "the primary can't read its own binary log, so look at its volume first; a clone begins behind the damaged \
                 place: delete this pod where its clone has --on-broken-replica clone-again, else its volume too"
            }
            Why::AheadOfSource => {
                "the primary lacks transactions that this replica holds: it was restored, or lost the end of its log. These \
                 data may be the last that have them, so keep the volume; to have the set go on with them, recover the \
                 primary from this pod (--on-lost-primary recover with --donor); to give them up, delete this volume"
            }
            Why::PacketTooLarge => {
                "the data are good: raise max_allowed_packet on the primary, and slave_max_allowed_packet \
                 (replica_max_allowed_packet) on the replicas, in the ConfigMap, then restart the pods"
            }
            Why::SameServerId => {
                "the data are good: give each server its own server_id, and a restored volume its own auto.cnf, then delete \
                 the pods that had the same"
            }
            Why::SourceRefuses => {
                "the data are kept as they are: do what the primary's words ask for, then delete the pod"
            }
        }
    }
}

//! Why a replica's replication is broken, and how to repair it.

use serde::{Deserialize, Serialize};

/// What stops a replica's replication for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::Display, strum::IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", const_into_str)]
pub enum Why {
    /// The source has purged the log after this replica's position.
    SourcePurged,
    /// The source lacks transactions that this replica has.
    AheadOfSource,
    /// The source fails to read its own log.
    SourceLogDamaged,
    /// An event is longer than one of the two servers accepts.
    PacketTooLarge,
    /// Another server connected to the source with this one's server id or UUID.
    SameServerId,
    /// The source refuses for another reason.
    SourceRefuses,
    /// The relay logs are unreadable, and so is the applied position.
    RelayLogsLost,
}

const CLONE_AGAIN: &str = "the data are kept as they are; delete the pod to clone again if its clone has \
                           --on-broken-replica clone-again, else delete its volume too";

impl Why {
    /// Whether a new clone of the primary repairs it.
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
                "the primary fails to read its own binary log, so check its volume first; a clone begins behind the \
                 damaged place: delete this pod if its clone has --on-broken-replica clone-again, else its volume too"
            }
            Why::AheadOfSource => {
                "the primary lacks transactions that this replica holds: it was restored, or lost the end of its log. \
                 These data may be the last that have them, so keep the volume; to keep them in the set, recover the \
                 primary from this pod (--on-lost-primary recover with --donor); to give them up, delete this volume"
            }
            Why::PacketTooLarge => {
                "the data are good: raise max_allowed_packet on the primary, and slave_max_allowed_packet \
                 (replica_max_allowed_packet) on the replicas, in the ConfigMap, then restart the pods"
            }
            Why::SameServerId => {
                "the data are good: give each server its own server_id, and a restored volume its own auto.cnf, then \
                 delete the pods that shared one"
            }
            Why::SourceRefuses => {
                "the data are kept as they are: follow the advice in the primary's error, then delete the pod"
            }
        }
    }
}

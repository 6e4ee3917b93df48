//! A recipient's question, its addressee, and the reasons for a missing answer.

use std::fmt;
use std::net::SocketAddr;

use crate::model::host::HostPort;
use crate::model::identity::SetId;
use crate::model::ordinal::Member;
use crate::model::position::Position;
use crate::protocol::frame::WireError;
use crate::protocol::handshake::recipient::Unanswered;
use crate::protocol::message::{Refusal, Wants};
use crate::settings::Peering;
use crate::unpack::Format;

/// The asking member and its settings.
pub struct Asker<'a> {
    pub member: &'a Member,
    pub peering: &'a Peering,
    pub wants: Wants,
    /// Formats that can be unpacked and prepared here.
    pub formats: &'a [Format],
    /// The conditions here for a clone.
    pub site: Site,
    /// Identity of the data that a clone would replace.
    pub set_id: Option<SetId>,
    /// Whether a legacy stream is accepted.
    pub takes_unproven: bool,
}

/// The facts about a recipient that a donor needs before it begins.
#[derive(Clone, Debug, Default)]
pub struct Site {
    pub tool_series: Option<String>,
    /// Version of a server that could copy the donor's by the CLONE plugin.
    pub plugin_server: Option<String>,
    pub free_bytes: Option<u64>,
    pub page_size: Option<u64>,
    pub lower_case_table_names: Option<u8>,
    pub keyring: bool,
}

/// The address of a peer.
#[derive(Clone, Debug)]
pub enum Place {
    Name(HostPort),
    Address(SocketAddr),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Name(name) => name.fmt(f),
            Place::Address(address) => address.fmt(f),
        }
    }
}

/// Questions that a report may answer.
#[derive(Clone, Debug, Default)]
pub struct Questions {
    /// Can replication start from this position?
    pub about: Option<Position>,
    /// Which part of this history is unknown to the peer?
    pub history: Option<String>,
}

/// Why a peer gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum Silence {
    /// The peer is unreachable.
    #[error("{0}")]
    Unreachable(String),
    /// A peer accepted the connection but stayed silent, hung up, or is another pod than the one that was named.
    #[error("{0}")]
    Mute(String),
    /// The peer refused.
    #[error("refused, {0}")]
    Refused(Refused),
    /// The peer is untrusted or unintelligible: a retry changes nothing.
    #[error("{0}")]
    Unacceptable(String),
    /// The peer is a legacy donor: it sends a backup to every connection, as the tutorial's does.
    #[error("{}", WireError::Legacy)]
    Legacy,
    /// The fault is local.
    #[error("{0:#}")]
    Fatal(anyhow::Error),
}

/// A peer's refusal.
#[derive(Debug, thiserror::Error)]
#[error("{refusal}")]
pub struct Refused {
    pub refusal: Refusal,
    /// Whether the peer proved the clone secret. Always false if there is none.
    pub is_proven: bool,
}

impl From<WireError> for Silence {
    /// Before the answer, a broken connection counts as no answer, and garbage makes a retry useless.
    fn from(error: WireError) -> Silence {
        match error {
            WireError::Malformed(what) => Silence::Unacceptable(what),
            WireError::Legacy => Silence::Legacy,
            other => Silence::Mute(other.to_string()),
        }
    }
}

impl From<Unanswered> for Silence {
    fn from(unanswered: Unanswered) -> Silence {
        let why = match unanswered {
            Unanswered::Broken(error) => return error.into(),
            Unanswered::Refused { refusal, is_proven } => return Silence::Refused(Refused { refusal, is_proven }),
            Unanswered::SecretMissing => {
                "the donor asks for a clone secret: set MYSQLSET_CLONE_SECRET_FILE or MYSQLSET_CLONE_SECRET"
            }
            Unanswered::SecretNotAsked => {
                "the donor does not know the clone secret (it did not ask for it): nothing is taken from it"
            }
            Unanswered::SecretNotProven => "the donor does not know the clone secret: nothing is taken from it",
        };
        Silence::Unacceptable(why.into())
    }
}

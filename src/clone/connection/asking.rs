//! A recipient's question, to whom it goes, and why there is no answer.

use std::fmt;
use std::net::SocketAddr;

use crate::model::host::HostPort;
use crate::model::identity::SetId;
use crate::model::ordinal::Member;
use crate::model::position::Position;
use crate::protocol::frame::WireError;
use crate::protocol::message::{Refusal, Wants};
use crate::settings::Peering;
use crate::unpack::Format;

/// Who asks, and how.
pub struct Asker<'a> {
    pub member: &'a Member,
    pub peering: &'a Peering,
    pub wants: Wants,
    /// Formats that can be unpacked and prepared here.
    pub formats: &'a [Format],
    /// What a clone would meet here.
    pub site: Site,
    /// The identity of the data that a clone would take the place of.
    pub set_id: Option<SetId>,
    /// Whether a stream is taken about which its donor says nothing.
    pub takes_unproven: bool,
}

/// What a donor must know of a recipient before it begins.
#[derive(Clone, Debug, Default)]
pub struct Site {
    pub tool_series: Option<String>,
    /// The version of a server that could copy the donor's by the CLONE plugin.
    pub plugin_server: Option<String>,
    pub free_bytes: Option<u64>,
    pub page_size: Option<u64>,
    pub lower_case_table_names: Option<u8>,
    pub keyring: bool,
}

/// Where a peer is.
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
    /// Can replication start from here?
    pub about: Option<Position>,
    /// Is there something in this history that you don't have?
    pub history: Option<String>,
}

/// Why a peer gave no answer that can be used.
#[derive(Debug)]
pub enum Silence {
    /// There is nobody to talk to.
    Unreachable(String),
    /// Somebody is there, and says nothing, hangs up, or is another pod than the one whose name was asked.
    Mute(String),
    /// The peer said no.
    Refused(Refused),
    /// The peer may not be trusted, or can't be understood: trying it again changes nothing.
    Unacceptable(String),
    /// The peer is no mysqlset, and sends a backup to whoever connects, as the tutorial's does.
    Bare,
    /// The fault is this machine's.
    Fatal(anyhow::Error),
}

/// A peer's no.
#[derive(Debug)]
pub struct Refused {
    pub refusal: Refusal,
    /// Whether the peer has proven that it knows the clone secret. Never without a secret.
    pub is_proven: bool,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.refusal.fmt(f)
    }
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Silence::Unreachable(why) | Silence::Mute(why) | Silence::Unacceptable(why) => f.write_str(why),
            Silence::Refused(refused) => write!(f, "refused, {refused}"),
            Silence::Bare => WireError::Bare.fmt(f),
            Silence::Fatal(error) => write!(f, "{error:#}"),
        }
    }
}

impl From<WireError> for Silence {
    /// Before the answer a broken connection is as good as none, and nonsense is nothing to try again.
    fn from(error: WireError) -> Silence {
        match error {
            WireError::Malformed(what) => Silence::Unacceptable(what),
            WireError::Bare => Silence::Bare,
            other => Silence::Mute(other.to_string()),
        }
    }
}

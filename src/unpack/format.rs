//! The container formats of backup streams.

use serde::{Deserialize, Serialize};

/// The container formats that a donor may offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
pub enum Format {
    /// XtraBackup's xbstream, in which an `S` chunk is a sparse payload.
    #[serde(rename = "xbstream-percona")]
    #[strum(serialize = "xbstream-percona")]
    XbstreamPercona,
    /// mariadb-backup's xbstream, in which an `S` chunk is a seek.
    #[serde(rename = "xbstream-mariadb")]
    #[strum(serialize = "xbstream-mariadb")]
    XbstreamMariaDb,
    /// XtraBackup 2.x's `--stream=tar`.
    #[serde(rename = "tar")]
    #[strum(serialize = "tar")]
    Tar,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 3] = [Format::XbstreamPercona, Format::XbstreamMariaDb, Format::Tar];

    /// The flavour of an xbstream. `None` for a tar.
    pub fn xbstream(self) -> Option<Flavour> {
        match self {
            Format::XbstreamPercona => Some(Flavour::Percona),
            Format::XbstreamMariaDb => Some(Flavour::MariaDb),
            Format::Tar => None,
        }
    }
}

/// The flavour of an xbstream: `S` has two meanings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    Percona,
    MariaDb,
}

//! The container formats of backup streams.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The container formats that a donor may offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// XtraBackup's xbstream, in which an `S` chunk is a sparse payload.
    #[serde(rename = "xbstream-percona")]
    XbstreamPercona,
    /// mariadb-backup's xbstream, in which an `S` chunk is a seek.
    #[serde(rename = "xbstream-mariadb")]
    XbstreamMariaDb,
    /// XtraBackup 2.x's `--stream=tar`.
    #[serde(rename = "tar")]
    Tar,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 3] = [Format::XbstreamPercona, Format::XbstreamMariaDb, Format::Tar];
}

impl Format {
    /// Whose xbstream it is; `None` for a tar.
    pub fn xbstream(self) -> Option<Flavour> {
        match self {
            Format::XbstreamPercona => Some(Flavour::Percona),
            Format::XbstreamMariaDb => Some(Flavour::MariaDb),
            Format::Tar => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::XbstreamPercona => "xbstream-percona",
            Format::XbstreamMariaDb => "xbstream-mariadb",
            Format::Tar => "tar",
        })
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Format, String> {
        let found = Format::ALL.into_iter().find(|format| format.to_string() == name);
        found.ok_or_else(|| format!("unknown stream format {name:?}"))
    }
}

/// Whose xbstream: `S` means two things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    Percona,
    MariaDb,
}

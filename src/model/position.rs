//! Where replication starts: a GTID position, or a file and offset of the source.

mod gtid;
pub mod history;
mod tool_file;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use tool_file::{Writer, parse_binlog_info, parse_slave_info};

/// A point in the source's history from which a replica can follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "by")]
pub enum Position {
    /// A place in one of the source's binary logs.
    BinlogFile { file: String, offset: u64 },
    /// The transactions that the data hold, as a MySQL GTID set: `uuid:1-9,uuid:tag:1-3`.
    MysqlGtid { executed: String },
    /// The last transaction of each domain that the data hold: `0-100-7,1-2-9`. Empty before the first.
    MariadbGtid { slave_pos: String },
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Position::BinlogFile { file, offset } => write!(f, "{}:{offset}", OneLine(file)),
            Position::MysqlGtid { executed } => write!(f, "GTID set {}", OneLine(executed)),
            Position::MariadbGtid { slave_pos } if slave_pos.is_empty() => f.write_str("GTID (none yet)"),
            Position::MariadbGtid { slave_pos } => write!(f, "GTID {}", OneLine(slave_pos)),
        }
    }
}

/// MySQL breaks the lines of its GTID sets, and a peer may put anything there.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Positions are numbers, and names of files.
        let is_plain = |character: char| character.is_ascii_graphic() || character.is_alphanumeric();
        let plain = |character: char| if is_plain(character) { character } else { ' ' };
        self.0.chars().map(plain).try_for_each(|character| fmt::Write::write_char(f, character))
    }
}

#[cfg(test)]
mod tests;

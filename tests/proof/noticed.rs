//! Finds out which check noticed an incomplete copy, by the reason that `clone` gave.

use std::fmt;

use harness::logged::Said;
use mysqlset::model::event::Event;

use crate::recipient::Ended;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Noticed {
    /// The donor or its tool: the backup failed.
    Donor,
    Stream,
    Prepare,
    Inventory,
    Rehearsal,
    /// A reason that the proof cannot assign.
    Other(i32),
}

/// Exit codes of docs/reference/exit-codes.md.
const NO_DONOR: i32 = 20;
const REFUSED: i32 = 21;
const NOT_PREPARED: i32 = 41;
const NO_POSITION: i32 = 42;
const REHEARSAL: i32 = 44;

/// The words of `clone` for a copy that lacks entries of the donor's inventory. Its event is that of a failed prepare.
const LACKS: &str = "the copy lacks what the donor held";

pub fn by_whom(ended: &Ended) -> Noticed {
    let code = ended.code.unwrap_or(-1);
    // Another backup may fail for a different reason, because its donor is busy with the first.
    let another = ended.log.lines_of(Event::CloneAnotherBackup).into_iter().next();
    let reason = another.map_or_else(|| ended.reason(), |line| line.text);
    match code {
        _ if reason.contains(LACKS) => Noticed::Inventory,
        REHEARSAL => Noticed::Rehearsal,
        NOT_PREPARED => Noticed::Prepare,
        _ if another.is_some() && reason.contains("mariadb-backup") => Noticed::Prepare,
        _ if another.is_some() => Noticed::Rehearsal,
        NO_DONOR | REFUSED if reason.contains("mariadb-backup") && reason.contains("ended with") => Noticed::Donor,
        NO_DONOR | REFUSED | NO_POSITION => Noticed::Stream,
        _ => Noticed::Other(code),
    }
}

impl fmt::Display for Noticed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Noticed::Donor => f.write_str("donor"),
            Noticed::Stream => f.write_str("stream"),
            Noticed::Prepare => f.write_str("prepare"),
            Noticed::Inventory => f.write_str("inventory"),
            Noticed::Rehearsal => f.write_str("rehearsal"),
            Noticed::Other(code) => write!(f, "exit code {code}"),
        }
    }
}

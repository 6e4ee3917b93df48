//! Lists the damage that may stay unnoticed. docs/how-it-works/proof.md has the same list; all other damage must be
//! noticed.

use super::{Class, Damage, Place};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The copy is not published.
    Noticed,
    /// The copy may be published where its server has all the donor's rows, because the server repairs the damage.
    MadeGood(&'static str),
    /// The copy may be published. Only a reading of every row tells it from a good one.
    Unseen(&'static str),
}

/// The words of the list, each at its place on the page.
const ROWS: &str = "bytes changed in place where no check reads: behind the first pages of an InnoDB table, and inside the data and index files of other engines";
const LOST_BEFORE: &str = "what the donor's own files had lost before: it is copied as it is";
const CSV_STATE: &str = "a CSV table's state file (`.CSM`), which a server makes again";
const NOTES: &str = "the backup tool's own notes, which are made again or not needed";

/// All entries of the page.
pub const LISTED: [&str; 4] = [ROWS, LOST_BEFORE, CSV_STATE, NOTES];

pub fn expected(place: Place, class: Class, damage: Damage) -> Expected {
    use Class::*;
    use Expected::{MadeGood, Noticed, Unseen};
    let is_in_place = matches!(damage, Damage::Garbled | Damage::AllZeroed | Damage::LaterPageZeroed);
    match (place, class) {
        (_, Table) if damage == Damage::LaterPageZeroed => Unseen(ROWS),
        (_, AriaData | AriaIndex | MyisamData | MyisamIndex) if is_in_place => Unseen(ROWS),
        (_, CsvMeta) => MadeGood(CSV_STATE),
        (Place::Donor, Trigger | TriggerName | DbOpt | CsvData) => Unseen(LOST_BEFORE),
        // An empty partition file belongs to a table without partitions.
        (Place::Donor, Merge) if damage == Damage::Emptied => Unseen(LOST_BEFORE),
        (Place::Stream, Info | OptionsFile) => MadeGood(NOTES),
        _ => Noticed,
    }
}

//! Which damage need not be noticed. README.md has the same list; what is not on it must be noticed.

use super::{Class, Damage, Place};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The copy is not published.
    Noticed,
    /// The copy may be published where a server on it has all that the donor has: somebody makes it good.
    MadeGood(&'static str),
    /// The copy may be published: nobody can tell it from a good one, but by reading every row.
    Unseen(&'static str),
}

pub fn expected(place: Place, class: Class, damage: Damage) -> Expected {
    use Expected::{MadeGood, Noticed, Unseen};
    let _ = (place, class, damage);
    match (place, class, damage) {
        (_, Class::AriaLog | Class::AriaControl, _) => MadeGood("a server makes a new Aria log"),
        (_, Class::CsvMeta, _) => MadeGood("a server makes a CSV table's state anew"),
        (_, Class::Table, Damage::LaterPageZeroed) => Unseen("a page behind a table's first index page"),
        (Place::Donor, Class::Trigger | Class::TriggerName | Class::DbOpt, Damage::LeftOut) => {
            Unseen("what the donor itself has lost before")
        }
        _ => Noticed,
    }
}

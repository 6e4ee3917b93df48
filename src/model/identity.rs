//! Set identity and lineage: the set that data belong to, and the latest recovery of its primary that they
//! include.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::position::Position;

/// Identifies a set. Ordinal 0 creates it once, and every clone carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct SetId(String);

/// The longest accepted id. A person may write one into a journal by hand.
const LONGEST_ID: usize = 64;

impl TryFrom<String> for SetId {
    type Error = &'static str;

    /// Peers send theirs, and log lines show it.
    fn try_from(text: String) -> Result<SetId, Self::Error> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_plain && (1..=LONGEST_ID).contains(&text.len()) {
            return Ok(SetId(text));
        }
        Err("a set identity has 1 to 64 letters, digits or signs")
    }
}

impl SetId {
    /// A new identity: 128 random bits in hexadecimal.
    pub fn of_random(bits: [u8; 16]) -> SetId {
        SetId(format!("{:032x}", u128::from_le_bytes(bits)))
    }
}

impl fmt::Display for SetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The history since a recovery of the primary, which restarted from a copy. Servers that were ahead of the copy
/// hold transactions that the set has lost, and the set will use their numbers again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    pub id: SetId,
    /// Its start: the position of the copy.
    pub began_at: Position,
    /// The previous set id, if the recovery changed it. With positions by file and offset the old replicas cannot
    /// follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<SetId>,
}

/// How the set identity of one pod's data compares with that of another's. Every comparison is made here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kinship<'a> {
    /// Both are of one set.
    Same,
    /// They are of two sets.
    Different { own: &'a SetId, theirs: &'a SetId },
    /// One of them lacks an identity: its data are older than identities, or the tutorial's, or still incomplete.
    OneUnknown,
    /// Neither has.
    BothUnknown,
}

impl<'a> Kinship<'a> {
    pub fn of(own: Option<&'a SetId>, theirs: Option<&'a SetId>) -> Kinship<'a> {
        match (own, theirs) {
            (Some(own), Some(theirs)) if own == theirs => Kinship::Same,
            (Some(own), Some(theirs)) => Kinship::Different { own, theirs },
            (None, None) => Kinship::BothUnknown,
            _ => Kinship::OneUnknown,
        }
    }
}

/// What a primary's lineage means for data of the same set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Descent<'a> {
    /// The data followed every recovery of the primary.
    Along,
    /// The primary was recovered since. The data may follow where the recovery began with all that they hold.
    Since(&'a Lineage),
}

impl<'a> Descent<'a> {
    pub fn of(own: Option<&Lineage>, primarys: Option<&'a Lineage>) -> Descent<'a> {
        match primarys {
            Some(lineage) if own != Some(lineage) => Descent::Since(lineage),
            _ => Descent::Along,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_identity_is_one_short_word() {
        let parse = |id: &str| serde_json::from_value::<SetId>(id.into());
        for id in ["0123456789abcdef0123456789abcdef", "prod-1", &"x".repeat(64)] {
            assert_eq!(parse(id).unwrap().to_string(), id);
        }
        for id in ["", "a\nFORGED", "a b", "a\u{1b}[31m", "a\u{2028}b", &"x".repeat(65)] {
            assert!(parse(id).unwrap_err().to_string().contains("1 to 64 letters"), "{id:?}");
        }
    }

    #[test]
    fn data_without_an_identity_are_no_other_sets() {
        let [one, other] = [1, 2].map(|byte| SetId::of_random([byte; 16]));
        assert_eq!(Kinship::of(Some(&one), Some(&one.clone())), Kinship::Same);
        assert_eq!(Kinship::of(Some(&one), Some(&other)), Kinship::Different { own: &one, theirs: &other });
        assert_eq!(Kinship::of(None, Some(&one)), Kinship::OneUnknown);
        assert_eq!(Kinship::of(Some(&one), None), Kinship::OneUnknown);
        assert_eq!(Kinship::of(None, None), Kinship::BothUnknown);
    }

    #[test]
    fn a_recovery_counts_for_data_that_did_not_go_along_with_it() {
        let lineage = |byte| Lineage {
            id: SetId::of_random([byte; 16]),
            began_at: Position::MariadbGtid { slave_pos: "0-100-7".into() },
            replaces: None,
        };
        let (first, second) = (lineage(1), lineage(2));
        assert_eq!(Descent::of(Some(&first), Some(&first)), Descent::Along);
        assert_eq!(Descent::of(Some(&first), None), Descent::Along);
        assert_eq!(Descent::of(Some(&first), Some(&second)), Descent::Since(&second));
        assert_eq!(Descent::of(None, Some(&first)), Descent::Since(&first));
    }
}

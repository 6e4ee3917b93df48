//! Set identity: which set data belong to, and which recovery of its primary they went along with.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::position::Position;

/// Which set data belong to: made once by ordinal 0, carried by every clone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct SetId(String);

/// One that a person wrote into a journal need not be of the form that we make.
const LONGEST_ID: usize = 64;

impl TryFrom<String> for SetId {
    type Error = &'static str;

    /// Peers name theirs, and it is shown in log lines.
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

/// A history that was begun anew on a copy, when the primary was recovered. Whoever is further than the copy has
/// transactions that the set no longer has, under numbers that it gives out again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    pub id: SetId,
    /// Where it begins: all that the copy held.
    pub began_at: Position,
    /// The set's identity until then, where the recovery gave it another: by file and offset no replica can follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<SetId>,
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
}

//! Whose data these are.

use std::fmt;

use anyhow::Result;
use serde::{Deserialize, Serialize};

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
    pub fn random() -> Result<SetId> {
        Ok(SetId(format!("{:032x}", u128::from_le_bytes(crate::random::bytes()?))))
    }
}

impl fmt::Display for SetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
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
}

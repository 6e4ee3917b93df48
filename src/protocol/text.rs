//! Makes texts of peers safe for log lines, refusals and termination messages: short and on one line.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize as _, Deserializer};

/// The longest text of a peer that is kept, in characters.
pub const TEXT_LIMIT: usize = 1000;

/// The most names that are kept of a list. Strangers can send any number of messages, each with thousands of
/// empty names. Each name takes more memory than bytes in the message.
const MOST_NAMES: usize = 32;

/// A text of a peer on one short line, since any stranger can send a refusal.
pub fn one_line<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    Ok(in_one_line(&String::deserialize(input)?))
}

/// The same for text outside a message: our own texts may quote a peer's server.
pub fn in_one_line(text: &str) -> String {
    let plain = |character: char| if is_plain(character) { character } else { ' ' };
    text.chars().take(TEXT_LIMIT).map(plain).collect()
}

/// Excludes control characters, line separators, and characters that change a terminal's text direction.
fn is_plain(character: char) -> bool {
    let turns = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !character.is_control() && !turns && !matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

/// The same for named texts.
pub fn one_line_by_name<'de, D: Deserializer<'de>>(input: D) -> Result<BTreeMap<String, String>, D::Error> {
    let texts = BTreeMap::<String, String>::deserialize(input)?;
    Ok(texts.into_iter().map(|(name, text)| (in_one_line(&name), in_one_line(&text))).collect())
}

pub fn one_line_each<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<String>, D::Error> {
    input.deserialize_seq(Names)
}

struct Names;

impl<'de> Visitor<'de> for Names {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of names")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
        let mut names = Vec::new();
        while names.len() < MOST_NAMES {
            let Some(name) = list.next_element::<String>()? else { return Ok(names) };
            names.push(in_one_line(&name));
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(names)
    }
}

pub fn one_line_if_any<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    one_line(input).map(Some)
}

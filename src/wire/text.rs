//! Texts of peers, made fit for log lines, refusals and termination messages.

use std::fmt;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize as _, Deserializer};

/// The longest text of a peer that is kept, in characters.
pub const TEXT_LIMIT: usize = 1000;

/// The most names that are kept of a list. A message holds thousands of empty ones, each of which takes more memory than it
/// had bytes, and comes from strangers in any number.
const MOST_NAMES: usize = 32;

/// A text of a peer, made fit for a log line and a termination message: a refusal may come from anybody.
pub fn one_line<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    Ok(in_one_line(&String::deserialize(input)?))
}

/// The same of a text that comes in no message: a peer's server may be quoted in what our own says.
pub fn in_one_line(text: &str) -> String {
    let plain = |character: char| if character.is_control() { ' ' } else { character };
    text.chars().take(TEXT_LIMIT).map(plain).collect()
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

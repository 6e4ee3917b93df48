//! Texts of peers, made fit for log lines, refusals and termination messages.

use serde::{Deserialize as _, Deserializer};

/// The longest text of a peer that is kept, in characters.
pub const TEXT_LIMIT: usize = 1000;

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
    Ok(Vec::<String>::deserialize(input)?.iter().map(|text| in_one_line(text)).collect())
}

pub fn one_line_if_any<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    one_line(input).map(Some)
}

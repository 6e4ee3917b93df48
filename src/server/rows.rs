//! Rows of an answer, as text.

use std::collections::HashMap;

use super::client;

/// A result row by column names.
pub type NamedRow = HashMap<String, Option<String>>;

pub(super) fn first_value(row: client::Values) -> Option<String> {
    row.into_iter().next().and_then(text)
}

pub(super) fn text(value: Option<Vec<u8>>) -> Option<String> {
    value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

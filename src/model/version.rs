//! Versions of servers and tools, as they write them.

pub fn leading_numbers(text: &str) -> &str {
    let end = text.find(|character: char| !character.is_ascii_digit() && character != '.');
    &text[..end.unwrap_or(text.len())]
}

/// The first two numbers of a version.
pub fn series_of(version: &str) -> String {
    leading_numbers(version).splitn(3, '.').take(2).collect::<Vec<_>>().join(".")
}

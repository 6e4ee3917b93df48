//! Translates `/proc` paths of held directories back to their names in messages of programs that work there.

use std::borrow::Cow;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

static NAMES: Mutex<Vec<(RawFd, PathBuf)>> = Mutex::new(Vec::new());

/// The path before the number of a descriptor.
const HELD: &str = "/proc/self/fd/";

/// Sets the directory's name for messages. Its descriptor may have belonged to another directory before.
pub(super) fn remember(descriptor: RawFd, name: &Path) {
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    names.retain(|(known, _)| *known != descriptor);
    names.push((descriptor, name.to_owned()));
}

/// Replaces the `/proc` paths of held directories in a text by their names.
pub fn in_words(text: &str) -> Cow<'_, str> {
    if !text.contains(HELD) {
        return text.into();
    }
    named(text, &NAMES.lock().unwrap_or_else(PoisonError::into_inner)).into()
}

fn named(text: &str, names: &[(RawFd, PathBuf)]) -> String {
    let (mut told, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(HELD) {
        let (before, found) = rest.split_at(at);
        told.push_str(before);
        let number = &found[HELD.len()..];
        let digits = number.bytes().take_while(u8::is_ascii_digit).count();
        let name = names.iter().find(|(known, _)| number[..digits].parse() == Ok(*known));
        match name {
            Some((_, name)) => {
                told.push_str(&name.to_string_lossy());
                rest = without_dot(&number[digits..]);
            }
            None => {
                told.push_str(HELD);
                rest = number;
            }
        }
    }
    told + rest
}

/// The directory itself is reached as `/proc/self/fd/7/.`.
fn without_dot(rest: &str) -> &str {
    match rest.strip_prefix("/.") {
        Some(after) if after.is_empty() || after.starts_with(|next: char| !next.is_alphanumeric() && next != '.') => {
            after
        }
        _ => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_directory_is_called_by_its_name() {
        let names = [(7, PathBuf::from("/volume/stage")), (77, PathBuf::from("/other"))];
        for (text, told) in [
            ("reading /proc/self/fd/7/data/ibdata1: no", "reading /volume/stage/data/ibdata1: no"),
            ("/proc/self/fd/7/.", "/volume/stage"),
            ("/proc/self/fd/7/./run/sock", "/volume/stage/run/sock"),
            ("/proc/self/fd/7/.: no", "/volume/stage: no"),
            ("/proc/self/fd/7/.mysqlset.json", "/volume/stage/.mysqlset.json"),
            ("'/proc/self/fd/77/x', /proc/self/fd/7", "'/other/x', /volume/stage"),
            ("/proc/self/fd/8/x", "/proc/self/fd/8/x"),
            ("/proc/self/fd/", "/proc/self/fd/"),
        ] {
            assert_eq!(named(text, &names), told);
        }
    }
}

//! Numbers of bytes, as flags take them.

use anyhow::Result;
use bytesize::ByteSize;

use crate::model::exit::Reason;

/// Reads `512M`, `512MiB`, `512MB` or a bare number. The error names the flag, and the least that it takes.
pub fn parse(flag: &str, text: Option<&str>, least: u64) -> Result<Option<u64>> {
    let Some(text) = text else { return Ok(None) };
    // As in the server's options, a letter alone is a power of two. bytesize reads it as a power of ten.
    let is_letter_alone = text.ends_with(|last: char| "KMGTPE".contains(last.to_ascii_uppercase()));
    let full = if is_letter_alone { format!("{text}iB") } else { text.to_owned() };
    // It reads a number beyond 64 bits as the largest one.
    let read = full.parse::<ByteSize>().ok().map(|size| size.0).filter(|bytes| (least..u64::MAX).contains(bytes));
    let wrong = || format!("{flag} {text:?} is not a number of bytes like 512M, {least} or more");
    read.map(Some).ok_or_else(|| Reason::Settings.error(wrong()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_with_and_without_a_unit() {
        let parsed = |text| parse("--prepare-memory", Some(text), 1 << 20);
        assert_eq!(parsed("512M").unwrap(), Some(512 << 20));
        assert_eq!(parsed("1048576").unwrap(), Some(1 << 20));
        for same in ["512m", "512Mi", "512MiB", "512 mib", "0.5GiB", "524288K", "536870912B"] {
            assert_eq!(parsed(same).unwrap(), Some(512 << 20), "{same}");
        }
        assert_eq!((parsed("512MB").unwrap(), parsed("1T").unwrap()), (Some(512_000_000), Some(1 << 40)));
        assert_eq!(parse("--rate-limit", None, 1).unwrap(), None);
        for wrong in ["", "M", "-1", "1x", "99999999999G", "99999999999GiB", "1K", "1e9"] {
            assert!(parsed(wrong).unwrap_err().to_string().contains("--prepare-memory"), "{wrong}");
        }
    }
}

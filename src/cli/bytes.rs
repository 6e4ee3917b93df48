//! Numbers of bytes, as flags take them.

use anyhow::Result;

use crate::model::exit::Reason;

/// Reads `512M` or a bare number. The error names the flag, and the least that it takes.
pub fn parse(flag: &str, text: Option<&str>, least: u64) -> Result<Option<u64>> {
    let Some(text) = text else { return Ok(None) };
    let wrong =
        || Reason::Settings.error(format!("{flag} {text:?} is not a number of bytes like 512M, {least} or more"));
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1 << 20),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(unit).filter(|bytes| *bytes >= least).map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_with_and_without_a_unit() {
        let parsed = |text| parse("--prepare-memory", Some(text), 1 << 20);
        assert_eq!(parsed("512M").unwrap(), Some(512 << 20));
        assert_eq!(parsed("1048576").unwrap(), Some(1 << 20));
        assert_eq!(parse("--rate-limit", None, 1).unwrap(), None);
        for wrong in ["", "M", "-1", "1x", "99999999999G", "1K"] {
            assert!(parsed(wrong).unwrap_err().to_string().contains("--prepare-memory"), "{wrong}");
        }
    }
}

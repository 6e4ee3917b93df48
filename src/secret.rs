//! Passwords and the clone secret: read from a file or the environment, never printed.

use std::fmt;
use std::path::Path;

use anyhow::Result;

use crate::exit::Reason;

/// Text that must not appear in an argument list, a log or an error.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text that is secret from here on.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for the one place that has to send it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads a secret from the file that a flag names or from the environment's `variable`; neither is `None`, both
    /// are an error. One line end at the file's end is not part of the secret.
    pub fn read(file: Option<&Path>, variable: &str) -> Result<Option<Secret>> {
        let from_environment = match std::env::var(variable) {
            Ok(text) => Some(text),
            Err(std::env::VarError::NotPresent) => None,
            Err(std::env::VarError::NotUnicode(_)) => {
                return Err(Reason::Settings.error(format!("{variable} is not valid UTF-8")));
            }
        };
        match (file, from_environment) {
            (Some(_), Some(_)) => {
                Err(Reason::Settings.error(format!("both {variable} and {variable}_FILE are set: keep one of them")))
            }
            (Some(path), None) => Secret::from_file(path, variable).map(Some),
            (None, text) => Ok(text.map(Secret)),
        }
    }

    fn from_file(path: &Path, variable: &str) -> Result<Secret> {
        let mut text = std::fs::read_to_string(path).map_err(|error| {
            Reason::Settings.error(format!("{variable}_FILE: cannot read {}: {error}", path.display()))
        })?;
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        Ok(Secret(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "Secret(empty)" } else { "Secret(…)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_never_printed() {
        assert_eq!(format!("{:?}", Some(Secret::new("s3cret"))), "Some(Secret(…))");
    }

    #[test]
    fn a_file_loses_one_line_end_only() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "pass word \n\n").unwrap();
        let secret = Secret::read(Some(file.path()), "MYSQLSET_TEST_UNSET").unwrap().unwrap();
        assert_eq!(secret.reveal(), "pass word \n");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Secret::read(Some(Path::new("/nowhere/secret")), "MYSQLSET_TEST_UNSET").unwrap_err();
        assert!(error.to_string().contains("/nowhere/secret"), "{error}");
    }
}

//! Passwords: read from a file or the environment, never printed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

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
    /// are an error. Line ends at the file's end, however many, are not part of the secret.
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
        let wrong = |error| Reason::Settings.error(format!("{variable}_FILE: cannot read {}: {error}", path.display()));
        Secret::read_file(path).map_err(wrong)
    }

    /// A file's text, without the line ends at its end.
    pub fn read_file(path: &Path) -> std::io::Result<Secret> {
        let mut text = std::fs::read_to_string(path)?;
        text.truncate(text.trim_end_matches(['\r', '\n']).len());
        Ok(Secret(text))
    }
}

/// A secret that may change while we run: Kubernetes writes a changed Secret into its volume's files.
#[derive(Clone, Default)]
pub struct Password {
    file: Option<PathBuf>,
    /// As it was last read.
    last: Arc<Mutex<Secret>>,
}

impl Password {
    /// One that stays.
    pub fn fixed(text: impl Into<String>) -> Password {
        Password { file: None, last: Arc::new(Mutex::new(Secret::new(text))) }
    }

    /// As [`Secret::read`] does, for now; a file is read again whenever the password is needed.
    pub fn read(file: Option<&Path>, variable: &str) -> Result<Option<Password>> {
        let read = Secret::read(file, variable)?;
        Ok(read.map(|secret| Password { file: file.map(Path::to_owned), last: Arc::new(Mutex::new(secret)) }))
    }

    /// As it is now; as it was where its file is gone or empty: a secret that was taken away by mistake opens nothing.
    pub fn current(&self) -> Secret {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &self.file
            && let Ok(secret) = Secret::from_file(file, "")
            && !secret.is_empty()
        {
            *last = secret;
        }
        last.clone()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "Password(in {})", file.display()),
            None => f.write_str("Password(…)"),
        }
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
    fn a_file_loses_its_line_ends_and_nothing_else() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for end in ["", "\n", "\r\n", "\n\n", "\r\n\n\r\n"] {
            std::fs::write(file.path(), format!("pass\nword {end}")).unwrap();
            let secret = Secret::read(Some(file.path()), "MYSQLSET_TEST_UNSET").unwrap().unwrap();
            assert_eq!(secret.reveal(), "pass\nword ", "{end:?}");
        }
    }

    #[test]
    fn a_password_is_what_its_file_says_now() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        std::fs::write(&file, "old\n").unwrap();
        let password = Password::read(Some(&file), "MYSQLSET_TEST_UNSET").unwrap().unwrap();
        assert_eq!(password.current(), Secret::new("old"));
        std::fs::write(&file, "new").unwrap();
        assert_eq!(password.current(), Secret::new("new"));
        std::fs::write(&file, "\n").unwrap();
        assert_eq!(password.current(), Secret::new("new"));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(password.current(), Secret::new("new"));
        assert!(!format!("{password:?}").contains("new"), "{password:?}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Secret::read(Some(Path::new("/nowhere/secret")), "MYSQLSET_TEST_UNSET").unwrap_err();
        assert!(error.to_string().contains("/nowhere/secret"), "{error}");
    }
}

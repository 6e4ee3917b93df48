//! Passwords: read from a file or the environment, never printed, and wiped from memory when they are dropped.
//!
//! A text that grows moves, and leaves its shorter copies in memory that nobody wipes. So every text that holds a secret is
//! made at its full length ([`Secret::joined`]).
//!
//! Out of reach: a variable's copy in the process's environment block, buffers of the kernel, the states of hash functions on
//! the stack, the digits of one RSA encryption, and what the server and the backup tool keep.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use zeroize::Zeroizing;

use crate::model::exit::Reason;

/// Bytes of a secret's file. A file without end, such as a device, is none.
const LONGEST_FILE: usize = 4096;

/// Text that must not appear in an argument list, a log or an error. Each copy is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a text that is secret from here on.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(Zeroizing::new(text.into()))
    }

    /// The pieces, one behind the other, in memory that is taken once.
    pub fn joined(pieces: &[&str]) -> Secret {
        let mut text = Zeroizing::new(String::with_capacity(pieces.iter().map(|piece| piece.len()).sum()));
        pieces.iter().for_each(|piece| text.push_str(piece));
        Secret(text)
    }

    /// The same, with a separator between them.
    pub fn separated(parts: &[Secret], separator: &str) -> Secret {
        let pieces: Vec<&str> = parts.iter().flat_map(|part| [separator, part.reveal()]).skip(1).collect();
        Secret::joined(&pieces)
    }

    /// With something before each of these characters.
    pub fn escaped(&self, by: impl Fn(char) -> Option<&'static str>) -> Secret {
        let mut pieces = Vec::new();
        for piece in self.0.split_inclusive(|character| by(character).is_some()) {
            match piece.char_indices().next_back().and_then(|(at, last)| Some((at, by(last)?))) {
                Some((at, escape)) => pieces.extend([&piece[..at], escape, &piece[at..]]),
                None => pieces.push(piece),
            }
        }
        Secret::joined(&pieces)
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
            (None, text) => Ok(text.map(Secret::new)),
        }
    }

    fn from_file(path: &Path, variable: &str) -> Result<Secret> {
        let wrong = |error| Reason::Settings.error(format!("{variable}_FILE: cannot read {}: {error}", path.display()));
        Secret::read_file(path).map_err(wrong)
    }

    /// A file's text, without the line ends at its end.
    pub fn read_file(path: &Path) -> io::Result<Secret> {
        let invalid = |what: String| io::Error::new(ErrorKind::InvalidData, what);
        let mut bytes = Zeroizing::new([0; LONGEST_FILE + 1]);
        let length = fill(&mut bytes[..], &mut File::open(path)?)?;
        if length > LONGEST_FILE {
            return Err(invalid(format!("it has more than {LONGEST_FILE} bytes")));
        }
        let text = std::str::from_utf8(&bytes[..length]).map_err(|_| invalid("it is not valid UTF-8".to_owned()))?;
        Ok(Secret::joined(&[text.trim_end_matches(['\r', '\n'])]))
    }
}

/// Reads up to the end or until the buffer is full; returns how much.
fn fill(buffer: &mut [u8], input: &mut impl Read) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match input.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
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

    /// A device has no end.
    #[test]
    fn a_file_is_read_within_a_bound_and_must_be_text() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let read = || Secret::read(Some(file.path()), "MYSQLSET_TEST_UNSET").map_err(|error| error.to_string());
        std::fs::write(file.path(), "x".repeat(LONGEST_FILE)).unwrap();
        assert_eq!(read().unwrap().unwrap().reveal().len(), LONGEST_FILE);
        std::fs::write(file.path(), "x".repeat(LONGEST_FILE + 1)).unwrap();
        assert!(read().unwrap_err().contains("more than 4096 bytes"));
        std::fs::write(file.path(), b"s3cret\xff").unwrap();
        let error = read().unwrap_err();
        assert!(error.contains("not valid UTF-8") && !error.contains("s3cret"), "{error}");
        let error = Secret::read_file(Path::new("/dev/zero")).unwrap_err();
        assert!(error.to_string().contains("more than 4096 bytes"), "{error}");
    }

    #[test]
    fn texts_are_joined_and_escaped() {
        assert_eq!(Secret::joined(&["a", "", "bc"]).reveal(), "abc");
        assert_eq!(Secret::separated(&[Secret::new("a"), Secret::new("b")], ", ").reveal(), "a, b");
        let escaped = |text: &str| Secret::new(text).escaped(|c| (c == 'é').then_some("!")).reveal().to_owned();
        assert_eq!((escaped("é"), escaped("aéé"), escaped("béc")), ("!é".into(), "a!é!é".into(), "b!éc".into()));
        assert_eq!((escaped(""), escaped("abc")), (String::new(), "abc".into()));
    }

    const LONG: usize = 512;

    /// How often the word is in what lies at an address of this process. The kernel says so, whoever owns that memory now;
    /// none is taken meanwhile, which could be the same.
    fn words_at(memory: &File, address: usize) -> usize {
        use std::os::unix::fs::FileExt as _;
        let mut bytes = [0; LONG];
        memory.read_exact_at(&mut bytes, address as u64).unwrap();
        bytes.windows(6).filter(|window| window == b"geheim").count()
    }

    /// The allocator keeps what is so long mapped, and writes to its first bytes alone.
    #[test]
    fn what_is_dropped_is_wiped() {
        let memory = File::open("/proc/self/mem").unwrap();
        let text = "geheim! ".repeat(LONG / 8);
        let left_of = |secret: Secret| {
            let address = secret.reveal().as_ptr() as usize;
            assert_eq!(words_at(&memory, address), LONG / 8, "the test sees the memory");
            drop(secret);
            words_at(&memory, address)
        };
        assert_eq!(left_of(Secret::new(text.clone())), 0, "new");
        assert_eq!(left_of(Secret::new(text.clone()).clone()), 0, "a copy");
        assert_eq!(left_of(Secret::joined(&[&text, "!"])), 0, "joined");
        assert_eq!(left_of(Password::fixed(text.clone()).current()), 0, "a password");
        let address = text.as_ptr() as usize;
        drop(text);
        let left = words_at(&memory, address);
        assert!(left > LONG / 16, "a plain text is not wiped, or this test could not fail: {left}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Secret::read(Some(Path::new("/nowhere/secret")), "MYSQLSET_TEST_UNSET").unwrap_err();
        assert!(error.to_string().contains("/nowhere/secret"), "{error}");
    }
}

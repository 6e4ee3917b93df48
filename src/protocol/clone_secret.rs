//! The secret that donors and recipients prove to each other that they know; two of them while it is being changed.
//!
//! Pods hear of a changed Secret at different times, within a minute or two. So a change has two steps: the new secret
//! becomes the second line everywhere, which is accepted and not used; then the lines change places.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;

use crate::model::event::warn;
use crate::model::exit::Reason;
use crate::sys::secret::Secret;

/// In characters. A proof lets who hears it guess on a machine of his own, as fast as that computes.
const SHORTEST: usize = 16;

/// More lines are a mistake.
const MOST: usize = 2;

/// The secrets that are valid at one moment.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    own: Secret,
    second: Option<Secret>,
}

impl Keys {
    /// What this pod proves with.
    pub fn own(&self) -> &Secret {
        &self.own
    }

    /// What peers may prove with.
    pub fn all(&self) -> impl Iterator<Item = &Secret> {
        std::iter::once(&self.own).chain(&self.second)
    }

    /// A secret a line; the error is for people, and holds nothing of them.
    fn parse(text: &str) -> Result<Keys, String> {
        let lines: Vec<&str> =
            text.lines().map(|line| line.trim_end_matches('\r')).filter(|line| !line.is_empty()).collect();
        if let Some(short) = lines.iter().map(|line| line.chars().count()).find(|characters| *characters < SHORTEST) {
            return Err(format!(
                "the clone secret has {short} characters, and one below {SHORTEST} can be guessed: make one with \
                 `openssl rand -hex 16`"
            ));
        }
        match lines.as_slice() {
            [] => Err("the clone secret is empty: make one with `openssl rand -hex 16`, or don't set it at all".into()),
            [own] => Ok(Keys { own: Secret::new(*own), second: None }),
            [own, second] => Ok(Keys { own: Secret::new(*own), second: Some(Secret::new(*second)) }),
            more => Err(format!(
                "the clone secret has {} lines: give it one, or {MOST} while it is being changed, the one in use first",
                more.len()
            )),
        }
    }
}

/// The clone secret, which may change while we run: Kubernetes writes a changed Secret into its volume's files.
#[derive(Clone)]
pub struct CloneSecret {
    file: Option<PathBuf>,
    last: Arc<Mutex<Last>>,
}

struct Last {
    keys: Keys,
    /// What is wrong with the file, where that was said.
    said: Option<String>,
}

impl CloneSecret {
    /// From the file that a flag names, or the environment's `variable`; `None` where there is neither.
    pub fn read(file: Option<&Path>, variable: &str) -> Result<Option<CloneSecret>> {
        let Some(text) = Secret::read(file, variable)? else { return Ok(None) };
        let keys = Keys::parse(text.reveal()).map_err(|wrong| Reason::Settings.error(wrong))?;
        Ok(Some(CloneSecret::of(file.map(Path::to_owned), keys)))
    }

    fn of(file: Option<PathBuf>, keys: Keys) -> CloneSecret {
        CloneSecret { file, last: Arc::new(Mutex::new(Last { keys, said: None })) }
    }

    /// As it is now; as it was where its file cannot be used: a secret that was taken away by mistake opens nothing.
    pub fn now(&self) -> Keys {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = &self.file else { return last.keys.clone() };
        let read = Secret::read_file(file).map_err(|error| error.to_string());
        match read.and_then(|text| Keys::parse(text.reveal())) {
            Ok(keys) => *last = Last { keys, said: None },
            Err(wrong) if last.said.as_ref() == Some(&wrong) => {}
            Err(wrong) => {
                warn!(SecretUnusable, file = %file.display(), "the clone secret in use stays the one that was read before: {wrong}");
                last.said = Some(wrong);
            }
        }
        last.keys.clone()
    }
}

impl std::fmt::Debug for CloneSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CloneSecret(…)")
    }
}

#[cfg(test)]
impl CloneSecret {
    /// One that stays.
    pub fn fixed(text: &str) -> CloneSecret {
        CloneSecret::of(None, Keys::parse(text).expect("a clone secret"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::exit::reason_of;

    const ONE: &str = "the first of two secrets";
    const TWO: &str = "the second of two secrets";

    fn all(keys: &Keys) -> Vec<&str> {
        keys.all().map(Secret::reveal).collect()
    }

    #[test]
    fn one_line_is_a_secret_and_two_are_two() {
        for end in ["", "\n", "\r\n", "\n\n"] {
            assert_eq!(all(&Keys::parse(&format!("{ONE}{end}")).unwrap()), [ONE], "{end:?}");
        }
        let both = Keys::parse(&format!("{ONE}\r\n{TWO}\n")).unwrap();
        assert_eq!((all(&both), both.own().reveal()), (vec![ONE, TWO], ONE));
    }

    #[test]
    fn what_is_short_empty_or_too_much_is_refused_without_a_word_of_it() {
        for (text, says) in [
            ("", "is empty"),
            ("\n", "is empty"),
            ("hunter2", "has 7 characters"),
            ("only fifteen ch", "has 15 characters"),
            ("the first of two secrets\nhunter2", "has 7 characters"),
            ("the first of two secrets\nthe second of two secrets\nand the third of them", "has 3 lines"),
        ] {
            let wrong = Keys::parse(text).err().unwrap();
            assert!(wrong.contains(says) && !wrong.contains("hunter") && !wrong.contains("of two"), "{wrong}");
        }
        assert!(Keys::parse("sixteen characte").is_ok());
    }

    #[test]
    fn it_is_what_its_file_says_now_as_long_as_that_is_one() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("clone");
        let read = || CloneSecret::read(Some(&file), "MYSQLSET_TEST_UNSET");
        std::fs::write(&file, "short").unwrap();
        assert_eq!(reason_of(&read().unwrap_err()), Some(Reason::Settings));
        std::fs::write(&file, ONE).unwrap();
        let secret = read().unwrap().unwrap();
        std::fs::write(&file, format!("{TWO}\n{ONE}")).unwrap();
        assert_eq!(all(&secret.now()), [TWO, ONE]);
        for wrong in ["", "short", &format!("{ONE}\n{ONE}\n{ONE}")] {
            std::fs::write(&file, wrong).unwrap();
            assert_eq!(all(&secret.now()), [TWO, ONE]);
        }
        std::fs::remove_file(&file).unwrap();
        assert_eq!(all(&secret.now()), [TWO, ONE]);
        std::fs::write(&file, ONE).unwrap();
        assert_eq!(all(&secret.now()), [ONE]);
    }
}

//! Reads the clone secret, which donors and recipients prove to each other. During a change there are two.
//!
//! Pods see a changed Secret at different times, within a minute or two. So a change has two steps. First the new
//! secret becomes the second line everywhere: it is accepted but unused. Then the lines change places.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;

use crate::model::event::warn;
use crate::model::exit::Reason;
use crate::sys::secret::Secret;

/// In characters. An eavesdropper on a proof can guess offline, at the speed of its own machine.
const SHORTEST: usize = 16;

/// More lines are a mistake.
const MOST: usize = 2;

/// The secrets that are valid at present.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    own: Secret,
    second: Option<Secret>,
}

impl Keys {
    /// The secret for this pod's own proofs.
    pub fn own(&self) -> &Secret {
        &self.own
    }

    /// The secrets that peers may prove.
    pub fn all(&self) -> impl Iterator<Item = &Secret> {
        std::iter::once(&self.own).chain(&self.second)
    }

    /// Parses one secret per line. The error is for people and reveals no part of a secret.
    fn parse(text: &str) -> Result<Keys, String> {
        let lines: Vec<&str> =
            text.lines().map(|line| line.trim_end_matches('\r')).filter(|line| !line.is_empty()).collect();
        if let Some(short) = lines.iter().map(|line| line.chars().count()).find(|characters| *characters < SHORTEST) {
            return Err(format!(
                "the clone secret has {short} characters, but fewer than {SHORTEST} can be guessed: make one with \
                 `openssl rand -hex 16`"
            ));
        }
        match lines.as_slice() {
            [] => Err("the clone secret is empty: make one with `openssl rand -hex 16`, or leave it unset".into()),
            [own] => Ok(Keys { own: Secret::new(*own), second: None }),
            [own, second] => Ok(Keys { own: Secret::new(*own), second: Some(Secret::new(*second)) }),
            more => Err(format!(
                "the clone secret has {} lines: keep one, or {MOST} during a change, with the one in use first",
                more.len()
            )),
        }
    }
}

/// The clone secret, which may change at run time: Kubernetes writes a changed Secret into its volume's files.
#[derive(Clone)]
pub struct CloneSecret {
    file: Option<PathBuf>,
    last: Arc<Mutex<Last>>,
}

struct Last {
    keys: Keys,
    /// The error of the file, once it was logged.
    said: Option<String>,
}

impl CloneSecret {
    /// Reads the secret from the file that a flag names, or from the environment's `variable`. `None` if both are
    /// unset.
    pub fn read(file: Option<&Path>, variable: &str) -> Result<Option<CloneSecret>> {
        let Some(text) = Secret::read(file, variable)? else { return Ok(None) };
        let keys = Keys::parse(text.reveal()).map_err(|wrong| Reason::Settings.error(wrong))?;
        Ok(Some(CloneSecret::of(file.map(Path::to_owned), keys)))
    }

    fn of(file: Option<PathBuf>, keys: Keys) -> CloneSecret {
        CloneSecret { file, last: Arc::new(Mutex::new(Last { keys, said: None })) }
    }

    /// The present secrets. If the file is unusable, the last ones apply, so that a Secret removed by mistake
    /// grants no access.
    pub fn now(&self) -> Keys {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = &self.file else { return last.keys.clone() };
        let read = Secret::read_file(file).map_err(|error| error.to_string());
        match read.and_then(|text| Keys::parse(text.reveal())) {
            Ok(keys) => *last = Last { keys, said: None },
            Err(wrong) if last.said.as_ref() == Some(&wrong) => {}
            Err(wrong) => {
                warn!(SecretUnusable, file = %file.display(), "keeping the previous clone secret: {wrong}");
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
    /// A secret that stays the same.
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
    fn each_line_is_a_secret() {
        for end in ["", "\n", "\r\n", "\n\n"] {
            assert_eq!(all(&Keys::parse(&format!("{ONE}{end}")).unwrap()), [ONE], "{end:?}");
        }
        let both = Keys::parse(&format!("{ONE}\r\n{TWO}\n")).unwrap();
        assert_eq!((all(&both), both.own().reveal()), (vec![ONE, TWO], ONE));
    }

    #[test]
    fn short_empty_and_too_many_secrets_are_refused_and_stay_hidden() {
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
    fn it_follows_its_file_while_that_is_valid() {
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

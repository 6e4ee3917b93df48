//! What a program's lines mean is known by who started it: an examiner sees every line as it passes, and may end the
//! program at once.

use crate::sys::limits;

/// Sees every line of a program's standard error, from the first to the last, while the program runs.
pub trait Examine: Send + 'static {
    /// What a line means to this program's user.
    fn examine(&mut self, line: &str) -> Importance;

    /// Why the program failed, in a line that is known to say so. `None` where it said nothing that is known.
    fn reason(&self) -> Option<&str>;

    /// Whether that is a limit of the container.
    fn is_about_limit(&self) -> bool;
}

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Importance {
    /// A phase begins or ends, or has come further.
    Phase,
    /// Something is wrong, or may be.
    Warning,
    /// What only a search for a fault needs.
    Detail,
    /// The program is ended at once: what it makes is worth nothing, or it would never end.
    Fatal,
}

/// For a program that marks its errors, as servers do.
#[derive(Debug, Default)]
pub struct Marked {
    reason: Option<String>,
    is_about_space: bool,
    is_about_limit: bool,
}

impl Marked {
    /// Whether any line told that the volume is full.
    pub fn is_about_space(&self) -> bool {
        self.is_about_space
    }
}

impl Examine for Marked {
    fn examine(&mut self, line: &str) -> Importance {
        let is_error = line.contains("[ERROR]");
        let limit = || match is_about_long_file(line) {
            true => limits::file_size().and_then(|_| limits::of_signal(libc::SIGXFSZ)),
            false => limits::told_by(line),
        };
        if let Some(limit) = (!self.is_about_limit).then(limit).flatten() {
            self.is_about_limit = true;
            self.reason = Some(format!("{limit}: {line}"));
        } else if self.is_about_limit {
            // Nothing that follows tells more.
        } else if is_about_space(line) && !self.is_about_space {
            self.is_about_space = true;
            self.reason = Some(line.to_owned());
        } else if is_error && self.reason.is_none() {
            // Later ones follow from the first; the last is "Aborting".
            self.reason = Some(line.to_owned());
        }
        match line {
            _ if is_error || line.contains("[Warning]") => Importance::Warning,
            _ => Importance::Phase,
        }
    }

    fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    fn is_about_limit(&self) -> bool {
        self.is_about_limit
    }
}

/// Whether a text tells that a volume is full, in the words of `strerror`, of the servers and of the backup tools:
/// `Operating system error number 28`, `Errcode: 28`, `OS errno 28`, `IO Error: 28`. A used up quota and the largest size
/// of a file are the same to a user, unless that is a limit of the container's.
pub fn is_about_space(text: &str) -> bool {
    const WORDS: [&str; 2] = ["No space left on device", "Disk quota exceeded"];
    WORDS.iter().any(|words| text.contains(words)) || names_error(text, &[28, 122]) || is_about_long_file(text)
}

/// Whether a text tells that a file can't grow.
pub fn is_about_long_file(text: &str) -> bool {
    text.contains("File too large") || names_error(text, &[27])
}

/// Whether a text names one of these error numbers of the operating system.
pub fn names_error(text: &str, numbers: &[u32]) -> bool {
    const BEFORE: [&str; 7] =
        ["error number ", "Error number ", "Errcode: ", "errno: ", "errno ", "IO Error: ", "error code is "];
    BEFORE
        .iter()
        .any(|before| text.split(before).skip(1).any(|rest| leading_number(rest).is_some_and(|n| numbers.contains(&n))))
}

fn leading_number(text: &str) -> Option<u32> {
    text.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_volume_by_its_words_and_numbers() {
        for text in [
            "xtrabackup: Error writing file 'UNOPENED' (Errcode: 28 - No space left on device)",
            "2026-11-29 0 [Note] InnoDB: IO Error: 28 during write of 16384 bytes, for file app/t1497.ibd(1509), returned 0",
            "InnoDB: Operating system error number 28 in a file operation.",
            "0 [ERROR] [MY-012814] [InnoDB] … only 0 were written. Operating system error number 122.",
            "Error writing file '/x' (OS errno 28 - No space left on device)",
        ] {
            assert!(is_about_space(text), "{text}");
        }
        for text in ["InnoDB: Operating system error number 280 in", "IO Error: 2 during read", "t28.ibd", "errno: 128"]
        {
            assert!(!is_about_space(text), "{text}");
        }
    }

    #[test]
    fn the_first_marked_line_is_the_reason_unless_the_volume_is_full() {
        let mut lines = Marked::default();
        assert_eq!(lines.examine("[Warning] native AIO failed: error"), Importance::Warning);
        assert_eq!(lines.reason(), None);
        assert_eq!(lines.examine("[ERROR] cannot do this"), Importance::Warning);
        assert_eq!(lines.examine("[ERROR] Aborting"), Importance::Warning);
        assert_eq!(lines.reason(), Some("[ERROR] cannot do this"));
        assert_eq!(lines.examine("[Note] (errno: 28)"), Importance::Phase);
        assert!(lines.is_about_space() && lines.reason() == Some("[Note] (errno: 28)"));
    }
}

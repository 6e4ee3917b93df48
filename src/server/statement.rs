//! A statement, and what stands for it in errors and logs.

use crate::sys::secret::Secret;

/// A statement, and its short form for errors and logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    text: Secret,
    pub what: &'static str,
    /// Suppresses the server's error text, since servers quote what they refuse.
    pub holds_password: bool,
}

impl Statement {
    pub fn new(text: impl Into<String>, what: &'static str) -> Statement {
        Statement { text: Secret::new(text), what, holds_password: false }
    }

    pub fn with_password(text: Secret, what: &'static str) -> Statement {
        Statement { text, what, holds_password: true }
    }

    /// For a statement whose password the server's errors leave out.
    pub fn with_password_that_is_not_quoted(text: Secret, what: &'static str) -> Statement {
        Statement { text, what, holds_password: false }
    }

    /// The full text for the server.
    pub fn text(&self) -> &str {
        self.text.reveal()
    }
}

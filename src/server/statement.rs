//! A statement, and what stands for it in errors and logs.

use crate::sys::secret::Secret;

/// A statement, and what stands for it in errors and logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    text: Secret,
    pub what: &'static str,
    /// Then a server's error text is not passed on: servers quote what they refuse.
    pub holds_password: bool,
}

impl Statement {
    pub fn new(text: impl Into<String>, what: &'static str) -> Statement {
        Statement { text: Secret::new(text), what, holds_password: false }
    }

    pub fn with_password(text: Secret, what: &'static str) -> Statement {
        Statement { text, what, holds_password: true }
    }

    /// For one that holds a password of which the server's errors say nothing.
    pub fn with_password_that_is_not_quoted(text: Secret, what: &'static str) -> Statement {
        Statement { text, what, holds_password: false }
    }

    /// For the server.
    pub fn text(&self) -> &str {
        self.text.reveal()
    }
}

//! Quotes texts and names inside statements.

use crate::sys::secret::Secret;

/// A text as a SQL literal, for statements sent as plain text. It is right in every `sql_mode`, except that backslashes
/// fail in NO_BACKSLASH_ESCAPES, which [`super::dialect::Dialect::session_settings`] turns off.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// The same for a secret text.
pub fn secret_literal(secret: &Secret) -> Secret {
    let doubled = secret.escaped(|character| match character {
        '\\' => Some("\\"),
        '\'' => Some("'"),
        _ => None,
    });
    Secret::joined(&["'", doubled.reveal(), "'"])
}

/// A quoted SQL name.
pub fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_escape_quotes() {
        for text in ["it's \\ok", "", "'", "\\'", "plain"] {
            assert_eq!(literal(text), secret_literal(&Secret::new(text)).reveal(), "{text}");
        }
        assert_eq!(literal("it's \\ok"), "'it''s \\\\ok'");
    }
}

//! Texts and names inside statements.

use crate::sys::secret::Secret;

/// A text as a literal of SQL, for statements that take no parameters. Right in every `sql_mode` for texts without a
/// backslash; with one, for all modes but NO_BACKSLASH_ESCAPES, which [`super::dialect::Dialect::session_settings`] turns off.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// The same of a text that is secret.
pub fn secret_literal(secret: &Secret) -> Secret {
    let doubled = secret.escaped(|character| match character {
        '\\' => Some("\\"),
        '\'' => Some("'"),
        _ => None,
    });
    Secret::joined(&["'", doubled.reveal(), "'"])
}

/// A name as SQL has it.
pub fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_hold_what_would_end_them() {
        for text in ["it's \\ok", "", "'", "\\'", "plain"] {
            assert_eq!(literal(text), secret_literal(&Secret::new(text)).reveal(), "{text}");
        }
        assert_eq!(literal("it's \\ok"), "'it''s \\\\ok'");
    }
}

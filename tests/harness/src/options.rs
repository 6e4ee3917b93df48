//! Options of the programs. `make` passes them on as variables.

use std::str::FromStr;

use anyhow::{Context, Result};

/// An option by its name. An empty one counts as absent, because `make` passes on every option.
pub fn variable<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(name: &str) -> Result<Option<T>> {
    let text = std::env::var(name).unwrap_or_default();
    let parsed = (!text.is_empty()).then(|| text.parse()).transpose();
    parsed.with_context(|| format!("{name}={text}"))
}

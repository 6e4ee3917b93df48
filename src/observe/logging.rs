//! Log lines on standard error: text for people, or JSON.

use std::io::IsTerminal;

use anyhow::Result;
use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use crate::model::exit::Reason;
use crate::sys::terminal;

/// The form of log lines.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging for the process. With a filter that makes no sense the error is logged by the default filter.
pub fn start(filter: &str, format: Format) -> Result<()> {
    let parsed = EnvFilter::try_new(filter);
    let wrong = parsed.as_ref().err().map(|error| format!("log filter {filter:?}: {error}"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(parsed.unwrap_or_else(|_| EnvFilter::new("info")))
        .with_writer(|| terminal::Above)
        .with_target(false);
    let is_terminal = std::io::stderr().is_terminal();
    if is_terminal && format == Format::Text {
        terminal::allow_drawing();
    }
    match format {
        Format::Text => lines.with_ansi(is_terminal).init(),
        Format::Json => lines.json().flatten_event(true).init(),
    }
    wrong.map_or(Ok(()), |wrong| Err(Reason::Settings.error(wrong)))
}

//! Log lines on standard error: text for people, or JSON.

use anyhow::Result;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

use crate::cli::{LogFormat, ProcessArgs};
use crate::model::exit::Reason;
use crate::sys::terminal;

/// Starts logging for the process. With a filter that makes no sense the error is logged by the default filter.
pub fn start(process: &ProcessArgs) -> Result<()> {
    let filter = EnvFilter::try_new(&process.log);
    let wrong = filter.as_ref().err().map(|error| format!("log filter {:?}: {error}", process.log));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|_| EnvFilter::new("info")))
        .with_writer(|| terminal::Above)
        .with_target(false);
    let is_terminal = std::io::stderr().is_terminal();
    if is_terminal && process.log_format == LogFormat::Text {
        terminal::allow_drawing();
    }
    match process.log_format {
        LogFormat::Text => lines.with_ansi(is_terminal).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    wrong.map_or(Ok(()), |wrong| Err(Reason::Settings.error(wrong)))
}

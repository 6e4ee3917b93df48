//! Ends a failed command: writes the last log line, and the termination message that `kubectl describe pod` shows.

use std::path::Path;

use crate::model::event::{Event, error};
use crate::model::exit::{Reason, reason_of};
use crate::sys::held_directory;
use crate::sys::termination_log;

/// Logs the error that ends the process, and writes it to the termination message, where there is one.
pub fn tell(error: &anyhow::Error, termination_file: Option<&Path>) {
    let event = reason_of(error).map_or(Event::ExitUnexpected, Reason::event);
    error!(= event, "{error:#}");
    if let Some(path) = termination_file {
        termination_log::leave(path, &held_directory::in_words(&format!("{event}: {error:#}")));
    }
}

//! The end of a command that failed: the last log line, and the termination message that `kubectl describe pod` shows.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use crate::model::event::{Event, error};
use crate::model::exit::{Reason, reason_of};
use crate::sys::held;

/// The longest termination message that Kubernetes keeps, in bytes.
const TERMINATION_MESSAGE_LIMIT: usize = 4096;

/// Logs the error that ends the process, and leaves it in the termination message, where there is one.
pub fn tell(error: &anyhow::Error, termination_log: Option<&Path>) {
    let event = reason_of(error).map_or(Event::ExitUnexpected, Reason::event);
    error!(= event, "{error:#}");
    if let Some(path) = termination_log {
        leave_termination_message(path, &held::in_words(&format!("{event}: {error:#}")));
    }
}

/// Leaves `message` where Kubernetes picks it up. The file exists in every container; where it doesn't, or can't be
/// written, the log has said the same thing already.
pub fn leave_termination_message(path: &Path, message: &str) {
    let mut end = message.len().min(TERMINATION_MESSAGE_LIMIT);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    if let Ok(mut file) = OpenOptions::new().write(true).truncate(true).open(path) {
        let _ = file.write_all(&message.as_bytes()[..end]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let file = tempfile::NamedTempFile::new().unwrap();
        leave_termination_message(file.path(), &"é".repeat(3000));
        let left = std::fs::read_to_string(file.path()).unwrap();
        assert_eq!(left.len(), TERMINATION_MESSAGE_LIMIT);
    }
}

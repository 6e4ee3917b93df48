//! The file from which Kubernetes takes a container's termination message.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

/// The longest termination message that Kubernetes keeps, in bytes.
const TERMINATION_MESSAGE_LIMIT: usize = 4096;

/// Leaves `message` where Kubernetes picks it up. The file exists in every container; where it doesn't, or can't be
/// written, the log has said the same thing already.
pub fn leave(path: &Path, message: &str) {
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
        leave(file.path(), &"é".repeat(3000));
        let left = std::fs::read_to_string(file.path()).unwrap();
        assert_eq!(left.len(), TERMINATION_MESSAGE_LIMIT);
    }
}

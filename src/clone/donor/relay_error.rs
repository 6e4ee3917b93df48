//! Tells which end of a relay broke: the backup tool's pipe, or the connection to the recipient.

use std::io;

use crate::protocol::frame::WireError;

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub enum RelayError {
    /// The recipient is gone.
    Recipient(#[from] WireError),
    /// The tool's output is unreadable.
    Tool(#[from] io::Error),
}

/// For a reader that passes only `io::Error`: [`RelayError::of`] unwraps it.
impl From<RelayError> for io::Error {
    fn from(error: RelayError) -> io::Error {
        match error {
            RelayError::Tool(error) => error,
            gone @ RelayError::Recipient(_) => io::Error::new(io::ErrorKind::ConnectionAborted, gone),
        }
    }
}

impl RelayError {
    pub fn of(error: io::Error) -> RelayError {
        error.downcast::<RelayError>().unwrap_or_else(RelayError::Tool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_that_broke_is_known_after_a_readers_hands() {
        let through = |error: RelayError| RelayError::of(io::Error::from(error));
        let gone = through(RelayError::Recipient(WireError::Ended("before the backup was done")));
        assert!(matches!(gone, RelayError::Recipient(WireError::Ended(_))), "{gone:?}");
        let broken = through(RelayError::Tool(io::ErrorKind::ConnectionAborted.into()));
        assert!(matches!(&broken, RelayError::Tool(error) if error.kind() == io::ErrorKind::ConnectionAborted));
    }
}

//! Why there is no answer.

use std::io;

/// An error that the server answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ERROR {state} ({code}): {message}")]
pub struct ServerError {
    pub code: u16,
    pub message: String,
    pub state: String,
}

/// Why an answer is missing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Server(ServerError),
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The server asks for a proof that this client does not support.
    #[error(
        "the account's authentication plugin {0:?} is not supported: change the account to mysql_native_password, \
         caching_sha2_password, ed25519, or a plugin for the server's socket"
    )]
    UnknownPlugin(String),
    /// The packet violates the protocol.
    #[error("the server does not speak MySQL's protocol: {0}")]
    Protocol(&'static str),
}

pub(super) type Result<T> = std::result::Result<T, Error>;

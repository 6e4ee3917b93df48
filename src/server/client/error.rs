//! Why there is no answer.

use std::fmt;
use std::io;

/// An error that the server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerError {
    pub code: u16,
    pub message: String,
    pub state: String,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ERROR {} ({}): {}", self.state, self.code, self.message)
    }
}

impl std::error::Error for ServerError {}

/// Why there is no answer.
#[derive(Debug)]
pub enum Error {
    Server(ServerError),
    Io(io::Error),
    /// The server asks for a proof that this client cannot give.
    UnknownPlugin(String),
    /// What came is no word of the protocol.
    Protocol(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Server(error) => error.fmt(f),
            Error::Io(error) => error.fmt(f),
            Error::UnknownPlugin(name) => write!(
                f,
                "the account's authentication plugin {name:?} is not supported: change the account to \
                 mysql_native_password, caching_sha2_password, ed25519, or a plugin for the server's socket"
            ),
            Error::Protocol(why) => write!(f, "the server does not speak MySQL's protocol: {why}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::Io(error)
    }
}

pub(super) type Result<T> = std::result::Result<T, Error>;

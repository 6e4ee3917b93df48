//! Why a stream could not be unpacked.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a stream could not be unpacked.
#[derive(Debug)]
pub enum UnpackError {
    /// The stream could not be read on.
    Input(io::Error),
    /// A file could not be made or written; a full disk for example.
    Output { path: PathBuf, source: io::Error },
    /// The stream is damaged, cut or hostile.
    Malformed(String),
    /// The volume can't hold what the stream says, of which so many bytes are holes; so many are free.
    NoRoom { holes: u64, free: u64 },
}

impl fmt::Display for UnpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnpackError::Input(error) => error.fmt(f),
            UnpackError::Output { path, source } => write!(f, "writing {}: {source}", path.display()),
            UnpackError::Malformed(what) => write!(f, "damaged backup stream: {what}"),
            UnpackError::NoRoom { holes: 0, free } => {
                write!(f, "the volume has {free} bytes left, and the backup stream goes on")
            }
            UnpackError::NoRoom { holes, free } => write!(
                f,
                "the backup stream has holes of {holes} bytes in its files, which may be filled, and the volume has {free} bytes free"
            ),
        }
    }
}

impl std::error::Error for UnpackError {}

impl UnpackError {
    /// Says which member is damaged.
    pub(super) fn in_member(self, path: impl fmt::Display) -> UnpackError {
        match self {
            UnpackError::Malformed(what) => UnpackError::Malformed(format!("{path}: {what}")),
            other => other,
        }
    }
}

pub(crate) fn malformed<T>(what: impl Into<String>) -> Result<T, UnpackError> {
    Err(UnpackError::Malformed(what.into()))
}

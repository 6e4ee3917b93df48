//! Why a stream could not be unpacked.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a stream could not be unpacked.
#[derive(Debug)]
pub enum UnpackError {
    /// Reading the stream failed.
    Input(io::Error),
    /// Creating or writing a file failed, on a full disk for example.
    Output { path: PathBuf, source: io::Error },
    /// The stream is damaged, cut or hostile.
    Malformed(String),
    /// The stream is larger than the volume, with this many bytes of holes, and this many bytes free.
    NoRoom { holes: u64, free: u64 },
}

impl fmt::Display for UnpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnpackError::Input(error) => error.fmt(f),
            UnpackError::Output { path, source } => write!(f, "writing {}: {source}", path.display()),
            UnpackError::Malformed(what) => write!(f, "damaged backup stream: {what}"),
            UnpackError::NoRoom { holes: 0, free } => {
                write!(f, "the volume has only {free} bytes left, and the backup stream continues")
            }
            UnpackError::NoRoom { holes, free } => write!(
                f,
                "the backup stream has holes of {holes} bytes, which may be filled later, but the volume has only {free} bytes free"
            ),
        }
    }
}

impl std::error::Error for UnpackError {}

pub(crate) fn malformed<T>(what: impl Into<String>) -> Result<T, UnpackError> {
    Err(UnpackError::Malformed(what.into()))
}

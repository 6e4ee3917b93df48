//! Unpacks a backup stream into files below one directory, and only there.
//!
//! The two container formats are [`xbstream`] and [`tar`]. Both pass their members through [`path::MemberPath`],
//! which refuses hostile names, and [`sink::Sink`], which creates the files. Lengths are checked before memory is
//! allocated, so any stream can be unpacked in less than 20 MiB:
//!
//! | | MiB |
//! |---|---|
//! | buffers, used again and again | 16 |
//! | a frame packed with zstd, and its content | 2.2 |
//! | the map of holes in a sparse chunk | 0.5 |
//! | everything else in the process | 0.5 |

mod ddl_replay;
mod error;
pub mod forbidden;
mod format;
pub mod members;
pub mod path;
mod scan;
pub mod sink;
mod source;
pub mod storage;
pub mod suffix;
mod summary;
pub mod tar;
pub mod xbstream;

use std::io::Read;
use std::path::Path;

pub use error::UnpackError;
pub(crate) use error::malformed;
pub use format::Format;
pub use scan::scan;
use sink::Sink;
pub use sink::Writing;
pub use source::{Source, Undigested};
pub use summary::Summary;

/// Unpacks `input` to its end below `directory`, which should be empty. Everything is written when this returns,
/// and parts of it still have to be synced.
pub fn unpack(format: Format, input: impl Read, directory: &Path) -> Result<Summary, UnpackError> {
    unpack_by(Writing::default(), format, Undigested(input), directory)
}

/// Like [`unpack`], with an explicit way of writing.
pub fn unpack_by(
    writing: Writing,
    format: Format,
    input: impl Source,
    directory: &Path,
) -> Result<Summary, UnpackError> {
    let sink = Sink::new(directory, writing)?;
    let summary = match format.xbstream() {
        Some(flavour) => xbstream::unpack(input, &sink, flavour)?,
        None => tar::unpack(input, &sink)?,
    };
    sink.finish()?;
    Ok(summary)
}

#[cfg(test)]
mod tests;

//! A backup stream into files below one directory, and nothing outside it.
//!
//! The two container formats are [`xbstream`] and [`tar`]; both put their members through [`path::MemberPath`], which
//! refuses hostile names, and [`sink::Sink`], which makes the files. Lengths are bounded before memory is taken:
//! whatever a stream says, unpacking needs less than 32 MiB. Those are:
//!
//! | | MiB |
//! |---|---|
//! | buffers, the same ones again and again | 16 |
//! | what members are decompressed in ([`compressed`]) | 12 |
//! | a frame packed with zstd, and what it holds | 2.2 |
//! | where the holes of a sparse chunk are | 0.5 |
//! | all else of the process | 0.5 |

pub mod compressed;
mod ddl_replay;
mod error;
pub mod forbidden;
mod format;
pub mod member;
pub mod members;
pub mod path;
mod scan;
pub mod sink;
mod source;
pub mod storage;
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

/// Unpacks `input` to its end below `directory`, which should be empty. All is written when this returns, and not all of
/// it synced.
pub fn unpack(format: Format, input: impl Read, directory: &Path) -> Result<Summary, UnpackError> {
    unpack_by(Writing::default(), format, Undigested(input), directory)
}

/// The same, by a way of writing that is not the usual one.
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

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
pub mod forbidden;
pub mod member;
pub mod members;
pub mod path;
mod scan;
pub mod sink;
pub mod storage;
pub mod tar;
pub mod xbstream;

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use path::MemberPath;
pub use scan::scan;
use sink::Sink;
pub use sink::Writing;
use xbstream::Flavour;

/// The container formats that a donor may offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// XtraBackup's xbstream, in which an `S` chunk is a sparse payload.
    #[serde(rename = "xbstream-percona")]
    XbstreamPercona,
    /// mariadb-backup's xbstream, in which an `S` chunk is a seek.
    #[serde(rename = "xbstream-mariadb")]
    XbstreamMariaDb,
    /// XtraBackup 2.x's `--stream=tar`.
    #[serde(rename = "tar")]
    Tar,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 3] = [Format::XbstreamPercona, Format::XbstreamMariaDb, Format::Tar];
}

impl Format {
    /// Whose xbstream it is; `None` for a tar.
    pub fn xbstream(self) -> Option<Flavour> {
        match self {
            Format::XbstreamPercona => Some(Flavour::Percona),
            Format::XbstreamMariaDb => Some(Flavour::MariaDb),
            Format::Tar => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::XbstreamPercona => "xbstream-percona",
            Format::XbstreamMariaDb => "xbstream-mariadb",
            Format::Tar => "tar",
        })
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Format, String> {
        let found = Format::ALL.into_iter().find(|format| format.to_string() == name);
        found.ok_or_else(|| format!("unknown stream format {name:?}"))
    }
}

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
    fn in_member(self, path: &MemberPath) -> UnpackError {
        match self {
            UnpackError::Malformed(what) => UnpackError::Malformed(format!("{path}: {what}")),
            other => other,
        }
    }
}

pub(crate) fn malformed<T>(what: impl Into<String>) -> Result<T, UnpackError> {
    Err(UnpackError::Malformed(what.into()))
}

/// Where a stream comes from: bytes, which may be digested on their way but for those that have a checksum.
pub trait Source: Read {
    /// Reads bytes that have a checksum, which the caller compares.
    fn read_checksummed(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
}

impl<S: Source> Source for &mut S {
    fn read_checksummed(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (**self).read_checksummed(buffer)
    }
}

/// A stream that nobody digests.
pub struct Undigested<R>(pub R);

impl<R: Read> Read for Undigested<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read> Source for Undigested<R> {
    fn read_checksummed(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

/// What was unpacked.
#[derive(Debug, Default)]
pub struct Summary {
    /// Files that came to their end.
    pub files: u64,
    /// Those of [`METADATA`] that came to their end.
    metadata: Vec<&'static str>,
}

/// The metadata files that end a good backup, old names and new. (MDEV-18931)
const METADATA: [[&str; 2]; 2] =
    [["xtrabackup_checkpoints", "mariadb_backup_checkpoints"], ["xtrabackup_info", "mariadb_backup_info"]];

impl Summary {
    fn ended(&mut self, path: &MemberPath) {
        self.files += 1;
        if let Some(known) = METADATA.iter().flatten().find(|known| path.as_os_str() == **known)
            && !self.metadata.contains(known)
        {
            self.metadata.push(known);
        }
    }

    /// What was written last, and shows that all came, isn't there any more.
    fn gone(&mut self, path: &MemberPath) {
        self.metadata.retain(|known| path.as_os_str() != *known);
    }

    /// Whether the files that a backup tool writes last, when all else went well, are there: a stream that was cut
    /// between two files has nothing else to show for it.
    pub fn require_backup_metadata(&self) -> Result<(), UnpackError> {
        for names in METADATA {
            if !names.iter().any(|name| self.metadata.contains(name)) {
                return malformed(format!("the backup has no {}: it was cut before its end", names.join(" or ")));
            }
        }
        Ok(())
    }
}

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

//! Unpacks xbstream: a flat sequence of chunks without header and trailer. All integers are little-endian.
//!
//! ```text
//!  0            8       9      10         14
//! ┌────────────┬───────┬──────┬──────────┬──────┬ ─ ─ ─
//! │ "XBSTCK01" │ flags │ type │ path len │ path │ body
//! └────────────┴───────┴──────┴──────────┴──────┴ ─ ─ ─
//!  P payload             u64 length, u64 offset, u32 crc, data
//!  E end of file         –
//!  S sparse (Percona)    u32 count, u64 length, u64 offset, u32 crc, count × (u32 skip, u32 length), data
//!  S seek (MariaDB)      u64 offset
//!  R rename (MariaDB)    u32 path len, path
//!  D remove (MariaDB)    –
//! ```
//!
//! The crc is CRC-32/ISO-HDLC over map and data. It leaves out the head. Chunks of several files may alternate.
//! Within a file each offset must be the sum of lengths so far. Each file ends with its `E`. After that its name
//! may come again only in a rewriting chunk (MariaDB), or once it was renamed away or removed. The real tools
//! accept a stream that stops between two chunks. Here that is an error while a file is open.
//!
//! mariadb-backup takes renames and removals from the server's DDL log, also for files outside its copy
//! (ddl_log.cc). A name that never came is ignored. The name of a database stands for its contents, and `t#P#*`
//! for all partitions of a table. A file is lost if it comes under neither of its names.

pub mod chunk;

use std::io::{self, Read};

use crc32fast::Hasher;

pub use super::format::Flavour;
use super::members::Members;
use super::path::MemberPath;
use super::sink::{Open, Sink, SinkFile};
use super::{Source, Summary, UnpackError, malformed};
use chunk::{Body, Chunk, Chunks, Data, Map};

/// Unpacks to the input's end.
pub fn unpack(input: impl Source, sink: &Sink, flavour: Flavour) -> Result<Summary, UnpackError> {
    let mut unpacker = Unpacker {
        input: Chunks::new(input, flavour),
        members: Members::new(sink, flavour),
        summary: Summary::default(),
    };
    while let Some(chunk) = unpacker.input.next_chunk()? {
        unpacker.chunk(chunk)?;
    }
    unpacker.members.must_all_have_come()?;
    Ok(unpacker.summary)
}

struct Unpacker<'a, S> {
    input: Chunks<S>,
    members: Members<'a>,
    summary: Summary,
}

impl<S: Source> Unpacker<'_, S> {
    fn chunk(&mut self, chunk: Chunk) -> Result<(), UnpackError> {
        let Chunk { path, body } = chunk;
        match body {
            Body::Payload { data, rewrite } => {
                self.payload(&path, data, if rewrite { Open::Replace } else { Open::New })
            }
            Body::Sparse { data, map } => self.sparse(&path, data, &map),
            Body::Seek(offset) => self.seek(&path, offset),
            Body::Rename(to) => {
                self.summary.gone(&path);
                self.members.rename(&path, &to)
            }
            Body::Remove => {
                self.summary.gone(&path);
                self.members.remove(&path)
            }
            Body::End => self.end(&path),
        }
    }

    fn payload(&mut self, path: &MemberPath, data: Data, how: Open) -> Result<(), UnpackError> {
        let file = self.members.opened(path, how)?;
        check_place(file, path, data.offset, data.length)?;
        let mut hasher = Hasher::new();
        copy(&mut self.input, file, path, data.length, &mut hasher)?;
        file.pass_on_if_full()?;
        check_crc(path, data, hasher)
    }

    fn sparse(&mut self, path: &MemberPath, data: Data, map: &Map) -> Result<(), UnpackError> {
        let (holes, length) = map.entries().fold((0, 0), |(holes, sum), (hole, length)| (holes + hole, sum + length));
        if length != data.length {
            return malformed(format!("a sparse chunk of {path} whose map and length differ"));
        }
        let file = self.members.opened(path, Open::New)?;
        check_place(file, path, data.offset, length.saturating_add(holes))?;
        let mut hasher = Hasher::new();
        hasher.update(map.as_bytes());
        for (hole, length) in map.entries() {
            file.skip(hole)?;
            copy(&mut self.input, file, path, length, &mut hasher)?;
        }
        file.pass_on_if_full()?;
        check_crc(path, data, hasher)
    }

    fn end(&mut self, path: &MemberPath) -> Result<(), UnpackError> {
        self.members.end(path)?;
        self.summary.ended(path);
        Ok(())
    }

    /// The next payload overwrites from here. Patches a header after the rest was sent.
    fn seek(&mut self, path: &MemberPath, offset: u64) -> Result<(), UnpackError> {
        let file = self.members.already_open(path)?;
        check_bounds(path, offset, 0)?;
        file.seek(offset)
    }
}

/// The data of a chunk, covered by its checksum.
struct Checksummed<'a, S>(&'a mut S);

impl<S: Source> Read for Checksummed<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_checksummed(buffer)
    }
}

/// Copies `length` bytes into the file, and updates the checksum.
fn copy<S: Source>(
    input: &mut Chunks<S>,
    file: &mut SinkFile,
    path: &MemberPath,
    length: u64,
    hasher: &mut Hasher,
) -> Result<(), UnpackError> {
    let mut left = length;
    while left > 0 {
        let piece = file.fill_from(&mut Checksummed(&mut input.reader), left)?;
        if piece.is_empty() {
            return malformed(format!("it ends inside {path}, {left} bytes before a chunk's end"));
        }
        hasher.update(piece);
        left -= piece.len() as u64;
        input.offset += piece.len() as u64;
    }
    Ok(())
}

fn check_place(file: &SinkFile, path: &MemberPath, offset: u64, length: u64) -> Result<(), UnpackError> {
    if offset != file.position() {
        return malformed(format!("a chunk of {path} for offset {offset} comes at {}", file.position()));
    }
    check_bounds(path, offset, length)
}

/// File offsets are signed 64-bit numbers.
fn check_bounds(path: &MemberPath, offset: u64, length: u64) -> Result<(), UnpackError> {
    match offset.checked_add(length) {
        Some(end) if i64::try_from(end).is_ok() => Ok(()),
        _ => malformed(format!("a chunk of {path} reaches beyond any file's end")),
    }
}

fn check_crc(path: &MemberPath, data: Data, hasher: Hasher) -> Result<(), UnpackError> {
    let Data { offset, crc: expected, .. } = data;
    let found = hasher.finalize();
    if found == expected {
        return Ok(());
    }
    malformed(format!("the chunk of {path} at {offset} has checksum {found:08x} instead of {expected:08x}"))
}

//! xbstream: a flat sequence of chunks, no header, no trailer. All integers are little-endian.
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
//! The crc is CRC-32/ISO-HDLC over map and data; heads are not covered. Files may interleave; within one, each offset
//! must be the sum so far; each ends with its `E`, after which its name must not come again, unless the chunk says
//! rewrite (MariaDB), or the name was renamed away or removed. The real tools accept a stream that stops between two
//! chunks; here it is an error as long as a file is open.
//!
//! What mariadb-backup says of what was renamed and dropped while it copied it has from the server's log of such
//! statements, whether it had copied that or not (ddl_log.cc): a name that never came is nothing, one of a database is all
//! that lies in it, and `t#P#*` is all partitions of a table. But what never came by its new name either is lost.

pub mod chunk;

use std::io::{self, Read};

use crc32fast::Hasher;

use super::compressed::Compression;
pub use super::format::Flavour;
use super::member::Member;
use super::members::Members;
use super::path::MemberPath;
use super::sink::{Open, Sink};
use super::{Source, Summary, UnpackError, malformed};
use chunk::{Body, Chunk, Chunks, Data, Map};

/// Compressed bytes that are read at once.
const PIECE: usize = 128 << 10;

/// Unpacks to the input's end.
pub fn unpack(input: impl Source, sink: &Sink, flavour: Flavour) -> Result<Summary, UnpackError> {
    let mut unpacker = Unpacker {
        input: Chunks::new(input, flavour),
        members: Members::new(sink, flavour),
        piece: Vec::new(),
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
    /// Where compressed bytes are read to, where there are any.
    piece: Vec<u8>,
    summary: Summary,
}

impl<S: Source> Unpacker<'_, S> {
    fn chunk(&mut self, chunk: Chunk) -> Result<(), UnpackError> {
        let Chunk { path, compression, body } = chunk;
        if compression.is_some() {
            self.piece.resize(PIECE, 0);
        }
        match body {
            Body::Payload { data, rewrite } => {
                self.payload(&path, compression, data, if rewrite { Open::Replace } else { Open::New })
            }
            Body::Sparse { data, map } => self.sparse(&path, compression, data, &map),
            Body::Seek(offset) => self.seek(&path, compression, offset),
            Body::Rename(to) => {
                self.summary.gone(&path);
                self.members.rename(&path, &to)
            }
            Body::Remove => {
                self.summary.gone(&path);
                self.members.remove(&path)
            }
            Body::End => self.end(&path, compression),
        }
    }

    fn payload(
        &mut self,
        path: &MemberPath,
        compression: Option<Compression>,
        data: Data,
        how: Open,
    ) -> Result<(), UnpackError> {
        let member = self.members.opened(path, compression, how)?;
        check_place(member, path, data.offset, data.length)?;
        let mut hasher = Hasher::new();
        copy(&mut self.input, member, &mut self.piece, path, data.length, &mut hasher)?;
        member.pause()?;
        check_crc(path, data, hasher)
    }

    fn sparse(
        &mut self,
        path: &MemberPath,
        compression: Option<Compression>,
        data: Data,
        map: &Map,
    ) -> Result<(), UnpackError> {
        let (holes, length) = map.entries().fold((0, 0), |(holes, sum), (hole, length)| (holes + hole, sum + length));
        if length != data.length {
            return malformed(format!("a sparse chunk of {path} whose map and length differ"));
        }
        let member = self.members.opened(path, compression, Open::New)?;
        check_place(member, path, data.offset, length.saturating_add(holes))?;
        let mut hasher = Hasher::new();
        hasher.update(map.as_bytes());
        for (hole, length) in map.entries() {
            member.plain()?.skip(hole)?;
            copy(&mut self.input, member, &mut self.piece, path, length, &mut hasher)?;
        }
        member.pause()?;
        check_crc(path, data, hasher)
    }

    fn end(&mut self, path: &MemberPath, compression: Option<Compression>) -> Result<(), UnpackError> {
        self.members.end(path, compression)?;
        self.summary.ended(path);
        Ok(())
    }

    /// The next payload overwrites from here. Used to patch a header after the rest was sent.
    fn seek(&mut self, path: &MemberPath, compression: Option<Compression>, offset: u64) -> Result<(), UnpackError> {
        let member = self.members.already_open(path, compression)?;
        check_bounds(path, offset, 0)?;
        member.plain()?.seek(offset)
    }
}

/// The data of a chunk, which its checksum covers.
struct Checksummed<'a, S>(&'a mut S);

impl<S: Source> Read for Checksummed<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_checksummed(buffer)
    }
}

/// Passes `length` bytes on into the member, digesting them.
fn copy<S: Source>(
    input: &mut Chunks<S>,
    member: &mut Member,
    piece: &mut [u8],
    path: &MemberPath,
    length: u64,
    hasher: &mut Hasher,
) -> Result<(), UnpackError> {
    let mut left = length;
    while left > 0 {
        let piece = member.fill_from(&mut Checksummed(&mut input.reader), left, piece)?;
        if piece.is_empty() {
            return malformed(format!("it ends inside {path}, {left} bytes before a chunk's end"));
        }
        hasher.update(piece);
        left -= piece.len() as u64;
        input.offset += piece.len() as u64;
    }
    Ok(())
}

fn check_place(member: &Member, path: &MemberPath, offset: u64, length: u64) -> Result<(), UnpackError> {
    if offset != member.position() {
        return malformed(format!("a chunk of {path} for offset {offset} comes at {}", member.position()));
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
    malformed(format!("the chunk of {path} at {offset} has checksum {found:08x}, not {expected:08x}"))
}

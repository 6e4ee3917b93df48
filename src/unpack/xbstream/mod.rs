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

pub mod chunk;

use std::collections::HashMap;
use std::io::{self, Read};

use crc32fast::Hasher;

use super::path::MemberPath;
use super::sink::{Open, Sink, SinkFile};
use super::{Source, Summary, UnpackError, malformed};
use chunk::{Body, Chunk, Chunks, Data, Map};

/// Files that may be open at once. The tools keep one for each of their threads.
pub const OPEN_FILES: usize = 128;

/// Entries of a sparse map; a chunk of 10 MiB with a hole in each of its 1 KiB pages has 10,240.
const MAP_LIMIT: u32 = 1 << 16;

/// Whose xbstream: `S` means two things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    Percona,
    MariaDb,
}

/// Unpacks to the input's end.
pub fn unpack(input: impl Source, sink: &Sink, flavour: Flavour) -> Result<Summary, UnpackError> {
    let mut unpacker =
        Unpacker { input: Chunks::new(input, flavour), sink, open: HashMap::new(), summary: Summary::default() };
    while let Some(chunk) = unpacker.input.next()? {
        unpacker.chunk(chunk)?;
    }
    match unpacker.open.keys().min() {
        Some(path) => malformed(format!("it ends before the end of {path}")),
        None => Ok(unpacker.summary),
    }
}

struct Unpacker<'a, R> {
    input: Chunks<R>,
    sink: &'a Sink,
    open: HashMap<MemberPath, SinkFile>,
    summary: Summary,
}

impl<R: Source> Unpacker<'_, R> {
    fn chunk(&mut self, chunk: Chunk) -> Result<(), UnpackError> {
        let Chunk { path, body } = chunk;
        match body {
            Body::Payload { data, rewrite } => {
                self.payload(path, data, if rewrite { Open::Replace } else { Open::New })
            }
            Body::Sparse { data, map } => self.sparse(path, data, &map),
            Body::Seek(offset) => self.seek(&path, offset),
            Body::Rename(to) => self.rename(&path, &to),
            Body::Remove => self.remove(&path),
            Body::End => self.end(path),
        }
    }

    fn payload(&mut self, path: MemberPath, data: Data, how: Open) -> Result<(), UnpackError> {
        let file = opened(&mut self.open, self.sink, &path, how)?;
        check_place(file, &path, data.offset, data.length)?;
        let mut hasher = Hasher::new();
        copy(&mut self.input, file, &path, data.length, &mut hasher)?;
        check_crc(&path, data, hasher)
    }

    fn sparse(&mut self, path: MemberPath, data: Data, map: &Map) -> Result<(), UnpackError> {
        let (holes, length) = map.entries().fold((0, 0), |(holes, sum), (hole, length)| (holes + hole, sum + length));
        if length != data.length {
            return malformed(format!("a sparse chunk of {path} whose map and length differ"));
        }
        let file = opened(&mut self.open, self.sink, &path, Open::New)?;
        check_place(file, &path, data.offset, length.saturating_add(holes))?;
        let mut hasher = Hasher::new();
        hasher.update(map.as_bytes());
        for (hole, length) in map.entries() {
            file.skip(hole)?;
            copy(&mut self.input, file, &path, length, &mut hasher)?;
        }
        check_crc(&path, data, hasher)
    }

    fn end(&mut self, path: MemberPath) -> Result<(), UnpackError> {
        let file = match self.open.remove(&path) {
            Some(file) => file,
            None => self.sink.create(&path, Open::New)?,
        };
        file.finish()?;
        self.summary.ended(&path);
        Ok(())
    }

    /// The next payload overwrites from here. Used to patch a header after the rest was sent.
    fn seek(&mut self, path: &MemberPath, offset: u64) -> Result<(), UnpackError> {
        let Some(file) = self.open.get_mut(path) else {
            return malformed(format!("a seek in {path}, which is not open"));
        };
        check_bounds(path, offset, 0)?;
        file.seek(offset)
    }

    /// Replaces what has the new name: a table that is copied, altered and renamed over comes so.
    fn rename(&mut self, path: &MemberPath, to: &MemberPath) -> Result<(), UnpackError> {
        for name in [path, to] {
            self.must_be_closed(name)?;
        }
        self.sink.rename(path, to)
    }

    fn remove(&mut self, path: &MemberPath) -> Result<(), UnpackError> {
        self.must_be_closed(path)?;
        self.sink.remove(path)
    }

    fn must_be_closed(&self, path: &MemberPath) -> Result<(), UnpackError> {
        if self.open.contains_key(path) {
            malformed(format!("{path} is renamed or removed before its end"))
        } else {
            Ok(())
        }
    }
}

/// The data of a chunk, which its checksum covers.
struct Checksummed<'a, S>(&'a mut S);

impl<S: Source> Read for Checksummed<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_checksummed(buffer)
    }
}

/// Passes `length` bytes on into the file, digesting them.
fn copy<R: Source>(
    input: &mut Chunks<R>,
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

fn opened<'a>(
    open: &'a mut HashMap<MemberPath, SinkFile>,
    sink: &'a Sink,
    path: &MemberPath,
    how: Open,
) -> Result<&'a mut SinkFile, UnpackError> {
    if !open.contains_key(path) {
        if open.len() >= OPEN_FILES {
            return malformed(format!("more than {OPEN_FILES} files are open at once"));
        }
        open.insert(path.clone(), sink.create(path, how)?);
    }
    match open.get_mut(path) {
        Some(file) => Ok(file),
        None => malformed(format!("{path} is not open")),
    }
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
    malformed(format!("the chunk of {path} at {offset} has checksum {found:08x}, not {expected:08x}"))
}

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

use std::collections::HashMap;
use std::io::Read;

use crc32fast::Hasher;

use super::path::MemberPath;
use super::sink::{Open, Sink, SinkFile};
use super::{Summary, UnpackError, malformed};

/// Files that may be open at once. The tools keep one for each of their threads.
pub const OPEN_FILES: usize = 128;

const MAGIC: &[u8; 8] = b"XBSTCK01";
const FLAG_IGNORABLE: u8 = 0x01;
const FLAG_REWRITE: u8 = 0x02;

/// FN_REFLEN of the tools: they refuse longer paths.
const PATH_LIMIT: u32 = 511;

/// Entries of a sparse map; a chunk of 10 MiB with a hole in each of its 1 KiB pages has 10,240.
const MAP_LIMIT: u32 = 1 << 16;

/// Whose xbstream: `S` means two things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    Percona,
    MariaDb,
}

/// Unpacks to the input's end.
pub fn unpack(input: impl Read, sink: Sink, flavour: Flavour) -> Result<Summary, UnpackError> {
    let mut unpacker = Unpacker {
        input: Input { reader: input, offset: 0 },
        sink,
        flavour,
        open: HashMap::new(),
        summary: Summary::default(),
    };
    while let Some(head) = unpacker.input.head()? {
        unpacker.chunk(head)?;
    }
    match unpacker.open.keys().min() {
        Some(path) => malformed(format!("it ends before the end of {path}")),
        None => Ok(unpacker.summary),
    }
}

/// What every chunk begins with.
struct Head {
    flags: u8,
    kind: u8,
    path: MemberPath,
}

struct Unpacker<R> {
    input: Input<R>,
    sink: Sink,
    flavour: Flavour,
    open: HashMap<MemberPath, SinkFile>,
    summary: Summary,
}

impl<R: Read> Unpacker<R> {
    fn chunk(&mut self, head: Head) -> Result<(), UnpackError> {
        let Head { flags, kind, path } = head;
        let rewrite_allowed = self.flavour == Flavour::MariaDb && kind == b'P';
        if flags & !(FLAG_REWRITE | FLAG_IGNORABLE) != 0 || (flags & FLAG_REWRITE != 0 && !rewrite_allowed) {
            return malformed(format!("a chunk of {path} has unknown flags 0x{flags:02x}"));
        }
        if flags & FLAG_IGNORABLE != 0 {
            // No tool is known to send one, and none of them skips it: they take its data for the file's.
            return malformed(format!("a chunk of {path} is marked ignorable"));
        }
        match (kind, self.flavour) {
            (b'P', _) => self.payload(path, if flags & FLAG_REWRITE != 0 { Open::Replace } else { Open::New }),
            (b'E', _) => self.end(path),
            (b'S', Flavour::Percona) => self.sparse(path),
            (b'S', Flavour::MariaDb) => self.seek(path),
            (b'R', Flavour::MariaDb) => self.rename(path),
            (b'D', Flavour::MariaDb) => self.remove(path),
            _ => malformed(format!("unknown chunk type {:?} for {path}", kind as char)),
        }
    }

    fn payload(&mut self, path: MemberPath, how: Open) -> Result<(), UnpackError> {
        let (length, offset, crc) = (self.input.u64()?, self.input.u64()?, self.input.u32()?);
        let file = opened(&mut self.open, &self.sink, &path, how)?;
        check_place(file, &path, offset, length)?;
        let mut hasher = Hasher::new();
        self.input.copy(file, &path, length, &mut hasher)?;
        check_crc(&path, offset, crc, hasher)
    }

    fn sparse(&mut self, path: MemberPath) -> Result<(), UnpackError> {
        let (count, length, offset, crc) = (self.input.u32()?, self.input.u64()?, self.input.u64()?, self.input.u32()?);
        if count == 0 || count > MAP_LIMIT {
            return malformed(format!("a sparse chunk of {path} with {count} entries"));
        }
        let mut map = vec![0; count as usize * 8];
        self.input.exactly(&mut map)?;
        let mut hasher = Hasher::new();
        hasher.update(&map);
        let entries: Vec<(u64, u64)> =
            map.chunks_exact(8).map(|entry| (le32(&entry[..4]), le32(&entry[4..]))).collect();
        let (holes, data) = entries.iter().fold((0, 0), |(holes, data), (hole, length)| (holes + hole, data + length));
        if data != length {
            return malformed(format!("a sparse chunk of {path} whose map and length differ"));
        }
        let file = opened(&mut self.open, &self.sink, &path, Open::New)?;
        check_place(file, &path, offset, length.saturating_add(holes))?;
        for (hole, length) in entries {
            file.skip(hole)?;
            self.input.copy(file, &path, length, &mut hasher)?;
        }
        check_crc(&path, offset, crc, hasher)
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
    fn seek(&mut self, path: MemberPath) -> Result<(), UnpackError> {
        let offset = self.input.u64()?;
        let Some(file) = self.open.get_mut(&path) else {
            return malformed(format!("a seek in {path}, which is not open"));
        };
        check_bounds(&path, offset, 0)?;
        file.seek(offset)
    }

    /// Replaces what has the new name: a table that is copied, altered and renamed over comes so.
    fn rename(&mut self, path: MemberPath) -> Result<(), UnpackError> {
        let length = self.input.u32()?;
        let to = self.input.path(length)?;
        for name in [&path, &to] {
            self.must_be_closed(name)?;
        }
        self.sink.rename(&path, &to)
    }

    fn remove(&mut self, path: MemberPath) -> Result<(), UnpackError> {
        self.must_be_closed(&path)?;
        self.sink.remove(&path)
    }

    fn must_be_closed(&self, path: &MemberPath) -> Result<(), UnpackError> {
        if self.open.contains_key(path) {
            malformed(format!("{path} is renamed or removed before its end"))
        } else {
            Ok(())
        }
    }
}

fn opened<'a>(
    open: &'a mut HashMap<MemberPath, SinkFile>,
    sink: &Sink,
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

fn check_crc(path: &MemberPath, offset: u64, expected: u32, hasher: Hasher) -> Result<(), UnpackError> {
    let found = hasher.finalize();
    if found == expected {
        return Ok(());
    }
    malformed(format!("the chunk of {path} at {offset} has checksum {found:08x}, not {expected:08x}"))
}

fn le32(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// The stream, with its offset for error messages.
struct Input<R> {
    reader: R,
    offset: u64,
}

impl<R: Read> Input<R> {
    /// The next chunk's head, or `None` at an end right between two chunks.
    fn head(&mut self) -> Result<Option<Head>, UnpackError> {
        let at = self.offset;
        let mut bytes = [0; 14];
        match self.fill(&mut bytes)? {
            0 => return Ok(None),
            14 => {}
            _ => return malformed(format!("it ends inside a chunk's head, at {}", self.offset)),
        }
        if &bytes[..8] != MAGIC {
            return malformed(format!("no chunk begins at {at}"));
        }
        let length = le32(&bytes[10..]) as u32;
        Ok(Some(Head { flags: bytes[8], kind: bytes[9], path: self.path(length)? }))
    }

    fn path(&mut self, length: u32) -> Result<MemberPath, UnpackError> {
        if length > PATH_LIMIT {
            return malformed(format!("a path of {length} bytes; at most {PATH_LIMIT} are allowed"));
        }
        let mut bytes = [0; PATH_LIMIT as usize];
        let bytes = &mut bytes[..length as usize];
        self.exactly(bytes)?;
        MemberPath::new(bytes)
    }

    fn u32(&mut self) -> Result<u32, UnpackError> {
        let mut bytes = [0; 4];
        self.exactly(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn u64(&mut self) -> Result<u64, UnpackError> {
        let mut bytes = [0; 8];
        self.exactly(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Passes `length` bytes on into the file, digesting them.
    fn copy(
        &mut self,
        file: &mut SinkFile,
        path: &MemberPath,
        length: u64,
        hasher: &mut Hasher,
    ) -> Result<(), UnpackError> {
        let mut left = length;
        while left > 0 {
            let piece = file.fill_from(&mut self.reader, left)?;
            if piece.is_empty() {
                return malformed(format!("it ends inside {path}, {left} bytes before a chunk's end"));
            }
            hasher.update(piece);
            left -= piece.len() as u64;
            self.offset += piece.len() as u64;
        }
        Ok(())
    }

    fn exactly(&mut self, buffer: &mut [u8]) -> Result<(), UnpackError> {
        if self.fill(buffer)? == buffer.len() {
            return Ok(());
        }
        malformed(format!("it ends inside a chunk's head, at {}", self.offset))
    }

    /// Reads until the buffer is full or the input ends.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, UnpackError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.reader.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(UnpackError::Input(error)),
            }
        }
        self.offset += filled as u64;
        Ok(filled)
    }
}

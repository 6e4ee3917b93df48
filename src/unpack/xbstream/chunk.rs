//! Reads and checks chunk heads of an xbstream, within bounds. Used to unpack a stream and to relay it.

use std::io::Read;

use crate::unpack::format::Flavour;
use crate::unpack::path::MemberPath;
use crate::unpack::suffix::plain_path;
use crate::unpack::{UnpackError, malformed};

/// The most entries of a sparse map. A chunk of 10 MiB with a hole in each of its 1 KiB pages has 10,240.
const MAP_LIMIT: u32 = 1 << 16;

/// The first bytes of every chunk, and so of every stream.
pub const MAGIC: &[u8; 8] = b"XBSTCK01";
const FLAG_IGNORABLE: u8 = 0x01;
const FLAG_REWRITE: u8 = 0x02;

/// FN_REFLEN of the tools: they refuse longer paths.
const PATH_LIMIT: u32 = 511;

/// A chunk's head, up to its data.
#[derive(Debug)]
pub struct Chunk {
    pub path: MemberPath,
    pub body: Body,
}

/// The content of a chunk.
#[derive(Debug)]
pub enum Body {
    Payload {
        data: Data,
        /// An existing file is replaced. (MariaDB)
        rewrite: bool,
    },
    /// Data with holes between them. (Percona)
    Sparse {
        data: Data,
        map: Map,
    },
    /// The offset of the next payload. (MariaDB)
    Seek(u64),
    Rename(MemberPath),
    Remove,
    End,
}

/// The bytes that follow.
#[derive(Clone, Copy, Debug)]
pub struct Data {
    pub length: u64,
    /// Their offset in the file.
    pub offset: u64,
    /// CRC-32 of the data, and of the map if there is one.
    pub crc: u32,
}

/// The map of holes, in its encoded form.
#[derive(Debug)]
pub struct Map(Vec<u8>);

impl Map {
    /// The bytes, for the checksum.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The hole before each piece of data, and the piece's length.
    pub fn entries(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.chunks_exact(8).map(|entry| (number(&entry[..4]), number(&entry[4..])))
    }
}

impl Body {
    /// How many bytes of data follow.
    pub fn data_length(&self) -> u64 {
        match self {
            Body::Payload { data, .. } | Body::Sparse { data, .. } => data.length,
            Body::Seek(_) | Body::Rename(_) | Body::Remove | Body::End => 0,
        }
    }
}

/// The stream, with its offset for error messages.
pub struct Chunks<R> {
    pub reader: R,
    pub offset: u64,
    flavour: Flavour,
}

impl<R: Read> Chunks<R> {
    pub fn new(reader: R, flavour: Flavour) -> Chunks<R> {
        Chunks { reader, offset: 0, flavour }
    }

    /// The next chunk up to its data, which the caller has to read from `reader`. `None` at an end between two
    /// chunks.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>, UnpackError> {
        let at = self.offset;
        let mut head = [0; 14];
        match self.fill(&mut head)? {
            0 => return Ok(None),
            14 => {}
            _ => return self.cut(),
        }
        let [magic @ .., flags, kind, a, b, c, d] = head;
        if magic != *MAGIC {
            return malformed(format!("no chunk begins at {at}"));
        }
        let path = self.path(u32::from_le_bytes([a, b, c, d]))?;
        self.check_flags(&path, flags, kind)?;
        let body = self.body(&path, flags, kind)?;
        Ok(Some(Chunk { path, body }))
    }

    fn check_flags(&self, path: &MemberPath, flags: u8, kind: u8) -> Result<(), UnpackError> {
        let rewrite_allowed = self.flavour == Flavour::MariaDb && kind == b'P';
        if flags & !(FLAG_REWRITE | FLAG_IGNORABLE) != 0 || (flags & FLAG_REWRITE != 0 && !rewrite_allowed) {
            return malformed(format!("a chunk of {path} has unknown flags 0x{flags:02x}"));
        }
        if flags & FLAG_IGNORABLE != 0 {
            // The known tools neither send nor skip such chunks: they would take its data for the file's.
            return malformed(format!("a chunk of {path} is marked ignorable"));
        }
        Ok(())
    }

    fn body(&mut self, path: &MemberPath, flags: u8, kind: u8) -> Result<Body, UnpackError> {
        Ok(match (kind, self.flavour) {
            (b'P', _) => Body::Payload { data: self.data()?, rewrite: flags & FLAG_REWRITE != 0 },
            (b'E', _) => Body::End,
            (b'S', Flavour::Percona) => self.sparse(path)?,
            (b'S', Flavour::MariaDb) => Body::Seek(self.u64()?),
            (b'R', Flavour::MariaDb) => {
                let length = self.u32()?;
                Body::Rename(self.path(length)?)
            }
            (b'D', Flavour::MariaDb) => Body::Remove,
            _ => return malformed(format!("unknown chunk type {:?} for {path}", kind as char)),
        })
    }

    fn data(&mut self) -> Result<Data, UnpackError> {
        let mut bytes = [0; 20];
        self.exactly(&mut bytes)?;
        Ok(Data {
            length: number(&bytes[..8]),
            offset: number(&bytes[8..16]),
            // Four bytes always fit.
            crc: number(&bytes[16..]) as u32,
        })
    }

    fn sparse(&mut self, path: &MemberPath) -> Result<Body, UnpackError> {
        let count = self.u32()?;
        let data = self.data()?;
        if count == 0 || count > MAP_LIMIT {
            return malformed(format!("a sparse chunk of {path} with {count} entries"));
        }
        let mut bytes = vec![0; count as usize * 8];
        self.exactly(&mut bytes)?;
        Ok(Body::Sparse { data, map: Map(bytes) })
    }

    fn path(&mut self, length: u32) -> Result<MemberPath, UnpackError> {
        if length > PATH_LIMIT {
            return malformed(format!("a path of {length} bytes; at most {PATH_LIMIT} are allowed"));
        }
        let mut bytes = [0; PATH_LIMIT as usize];
        let bytes = &mut bytes[..length as usize];
        self.exactly(bytes)?;
        plain_path(bytes)
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

    fn exactly(&mut self, buffer: &mut [u8]) -> Result<(), UnpackError> {
        if self.fill(buffer)? == buffer.len() { Ok(()) } else { self.cut() }
    }

    fn cut<T>(&self) -> Result<T, UnpackError> {
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

/// Little-endian, up to eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

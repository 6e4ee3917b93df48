//! The tests' own, plain implementation of xbstream. It makes chunks ([`write`]), finds them with the place of each
//! field ([`chunks`]), and assembles them into files in memory ([`files`]). It shares nothing with the program.
//!
//! It checks nothing: a sound stream yields its files, any other the part that makes sense.

pub mod write;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use mysqlset::unpack::Format;

/// The fields of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Magic,
    Flags,
    Type,
    PathLength,
    Path,
    MapCount,
    Length,
    Offset,
    Checksum,
    Map,
    Data,
    SeekOffset,
    NewPathLength,
    NewPath,
}

/// The place of a chunk and its fields in the stream.
pub struct Chunk {
    pub kind: u8,
    pub at: Range<usize>,
    pub fields: Vec<(Field, Range<usize>)>,
}

impl Chunk {
    /// The place of a field, if the chunk has it.
    pub fn find(&self, field: Field) -> Option<Range<usize>> {
        self.fields.iter().find(|(found, _)| *found == field).map(|(_, range)| range.clone())
    }

    fn bytes<'a>(&self, stream: &'a [u8], field: Field) -> &'a [u8] {
        &stream[self.find(field).unwrap_or(0..0)]
    }

    fn number(&self, stream: &[u8], field: Field) -> u64 {
        number(self.bytes(stream, field))
    }

    /// The chunk's stated checksum and its actual one, if it has any.
    pub fn checksums(&self, stream: &[u8]) -> Option<(u32, u32)> {
        self.find(Field::Checksum)?;
        let covered = [self.bytes(stream, Field::Map), self.bytes(stream, Field::Data)].concat();
        Some((self.number(stream, Field::Checksum) as u32, crc32fast::hash(&covered)))
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// The chunks of a stream, up to the first malformed or cut one.
pub fn chunks(format: Format, stream: &[u8]) -> Vec<Chunk> {
    let next = |at| Cursor { stream, at, fields: Vec::new() }.chunk(format);
    std::iter::successors(next(0), |chunk| next(chunk.at.end)).collect()
}

struct Cursor<'a> {
    stream: &'a [u8],
    at: usize,
    fields: Vec<(Field, Range<usize>)>,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, field: Field, length: u64) -> Option<&'a [u8]> {
        let end = self.at.checked_add(usize::try_from(length).ok()?)?;
        let bytes = self.stream.get(self.at..end)?;
        self.fields.push((field, self.at..end));
        self.at = end;
        Some(bytes)
    }

    fn chunk(mut self, format: Format) -> Option<Chunk> {
        let start = self.at;
        (self.take(Field::Magic, 8)? == b"XBSTCK01").then_some(())?;
        self.take(Field::Flags, 1)?;
        let kind = self.take(Field::Type, 1)?[0];
        let path_length = number(self.take(Field::PathLength, 4)?);
        self.take(Field::Path, path_length)?;
        match (kind, format) {
            (b'P', _) => {
                let length = self.place()?;
                self.take(Field::Data, length)?;
            }
            (b'S', Format::XbstreamPercona) => {
                let entries = number(self.take(Field::MapCount, 4)?);
                let length = self.place()?;
                self.take(Field::Map, entries * 8)?;
                self.take(Field::Data, length)?;
            }
            (b'S', _) => drop(self.take(Field::SeekOffset, 8)?),
            (b'R', _) => {
                let length = number(self.take(Field::NewPathLength, 4)?);
                self.take(Field::NewPath, length)?;
            }
            (b'E' | b'D', _) => {}
            _ => return None,
        }
        Some(Chunk { kind, at: start..self.at, fields: self.fields })
    }

    /// Length, offset and checksum; returns the length.
    fn place(&mut self) -> Option<u64> {
        let length = number(self.take(Field::Length, 8)?);
        self.take(Field::Offset, 8)?;
        self.take(Field::Checksum, 4)?;
        Some(length)
    }
}

/// A file as pieces of the stream, each with its place in the file.
#[derive(Default)]
pub struct Contents {
    pub length: u64,
    position: u64,
    pieces: Vec<(u64, Range<usize>)>,
}

impl Contents {
    fn add(&mut self, piece: Range<usize>) {
        if !piece.is_empty() {
            self.pieces.push((self.position, piece.clone()));
            self.position += piece.len() as u64;
            self.length = self.length.max(self.position);
        }
    }

    fn skip(&mut self, hole: u64) {
        self.position += hole;
        self.length = self.length.max(self.position);
    }

    /// The file's bytes; only for one that fits into memory.
    pub fn bytes(&self, stream: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; self.length as usize];
        for (position, piece) in &self.pieces {
            bytes[*position as usize..][..piece.len()].copy_from_slice(&stream[piece.clone()]);
        }
        bytes
    }
}

/// The files of a good stream.
pub fn files(format: Format, stream: &[u8]) -> BTreeMap<Vec<u8>, Contents> {
    let mut open: HashMap<&[u8], Contents> = HashMap::new();
    let mut ended: BTreeMap<Vec<u8>, Contents> = BTreeMap::new();
    for chunk in chunks(format, stream) {
        let path = chunk.bytes(stream, Field::Path);
        let data = chunk.find(Field::Data).unwrap_or(0..0);
        match (chunk.kind, format) {
            (b'P', _) => open.entry(path).or_default().add(data),
            (b'S', Format::XbstreamPercona) => {
                let file = open.entry(path).or_default();
                let mut from = data.start;
                for entry in chunk.bytes(stream, Field::Map).chunks(8) {
                    file.skip(number(&entry[..4]));
                    let to = data.end.min(from + number(&entry[4..]) as usize);
                    file.add(from..to);
                    from = to;
                }
            }
            (b'S', _) => open.entry(path).or_default().position = chunk.number(stream, Field::SeekOffset),
            (b'R', _) => {
                if let Some(file) = ended.remove(path) {
                    ended.insert(chunk.bytes(stream, Field::NewPath).to_vec(), file);
                }
            }
            (b'D', _) => {
                // The file, or a whole directory, or all partitions.
                let partitions = path.strip_suffix(b"*").filter(|prefix| prefix.ends_with(b"#P#"));
                let below = [path, b"/"].concat();
                let is_meant = |name: &[u8]| name == path || name.starts_with(partitions.unwrap_or(&below));
                ended.retain(|name, _| !is_meant(name));
            }
            _ => drop(ended.insert(path.to_vec(), open.remove(path).unwrap_or_default())),
        }
    }
    ended
}

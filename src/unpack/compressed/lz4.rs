//! lz4's frames (LZ4 frame format 1.6), fed in pieces; the blocks in them are decompressed by `lz4_flex`.
//!
//! ```text
//!  0       4     5    6               ┌── each block ──────────────────────────┐
//! ┌───────┬─────┬────┬ ─ ─ ─ ─ ┬────┬┴─────────┬──────┬ ─ ─ ─ ─ ┬ ─ ┬──────────┴┬ ─ ─ ─ ─ ┐
//! │ magic │ FLG │ BD │ content │ HC │ size u32 │ data │ xxh32   │   │ 0u32      │ xxh32 of │
//! │       │     │    │ size u64│    │          │      │ of them │   │ end mark  │ content  │
//! └───────┴─────┴────┴ ─ ─ ─ ─ ┴────┴──────────┴──────┴ ─ ─ ─ ─ ┴ ─ ┴───────────┴ ─ ─ ─ ─ ┘
//!  FLG: version 01 · 1 independent blocks · 1 block checksums · 1 content size · 1 content checksum · 0 · 1 dictionary
//!  BD:  0 · 4…7: blocks of up to 64 KiB, 256 KiB, 1 MiB, 4 MiB · 0000
//!  HC:  the second byte of the xxh32 of what lies between magic and HC
//!  size: its highest bit says that the data are not compressed
//! ```
//!
//! A skippable frame is a magic number from 0x184D2A50 to 0x184D2A5F, a u32 length, and what is to be skipped. Frames
//! follow each other.

use lz4_flex::block::decompress_into_with_dict;
use xxhash_rust::xxh32::{Xxh32, xxh32};

use super::memory::Share;
use super::output::Output;
use crate::unpack::error::{UnpackError, malformed};

const MAGIC: u32 = 0x184D_2204;

/// But for the last four bits.
const SKIPPABLE: u32 = 0x184D_2A50;

/// How far back a block may refer to the blocks before it.
const HISTORY: usize = 64 << 10;

const NOT_COMPRESSED: u32 = 1 << 31;

/// Decompresses a member, piece by piece.
pub struct Decoder {
    state: State,
    /// What has come of the part that the state waits for.
    gathered: Vec<u8>,
    frame: Frame,
    share: Share,
}

/// What comes next; parts are taken whole, but for what is skipped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Magic,
    Descriptor,
    /// What the descriptor's flags ask for, and its checksum.
    DescriptorEnd {
        flags: Flags,
        bd: u8,
    },
    BlockSize,
    Block {
        size: usize,
        is_compressed: bool,
    },
    ContentChecksum,
    SkippedLength,
    Skipped {
        left: usize,
    },
}

/// The FLG byte.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Flags(u8);

impl Flags {
    fn is_known(self) -> bool {
        self.0 >> 6 == 1 && self.0 & 1 << 1 == 0
    }

    fn has_independent_blocks(self) -> bool {
        self.0 & 1 << 5 != 0
    }

    fn has_block_checksums(self) -> bool {
        self.0 & 1 << 4 != 0
    }

    fn has_content_size(self) -> bool {
        self.0 & 1 << 3 != 0
    }

    fn has_content_checksum(self) -> bool {
        self.0 & 1 << 2 != 0
    }

    fn needs_dictionary(self) -> bool {
        self.0 & 1 != 0
    }
}

/// What is known of the frame that is being decompressed.
struct Frame {
    flags: Flags,
    /// Up to [`HISTORY`] bytes of earlier blocks, then room for one block. Kept for the next frame.
    buffer: Vec<u8>,
    /// How many bytes right before the block's room are earlier blocks'.
    known: usize,
    content_size: Option<u64>,
    content: Xxh32,
    length: u64,
}

impl Decoder {
    pub fn new(share: Share) -> Decoder {
        let frame = Frame {
            flags: Flags::default(),
            buffer: Vec::new(),
            known: 0,
            content_size: None,
            content: Xxh32::new(0),
            length: 0,
        };
        Decoder { state: State::Magic, gathered: Vec::new(), frame, share }
    }

    pub fn is_inside_a_frame(&self) -> bool {
        self.state != State::Magic || !self.gathered.is_empty()
    }

    pub fn feed(&mut self, mut data: &[u8], output: &mut Output<'_>) -> Result<(), UnpackError> {
        while !data.is_empty() {
            if let State::Skipped { left } = self.state {
                let skipped = left.min(data.len());
                data = &data[skipped..];
                self.state = State::skipping(left - skipped);
                continue;
            }
            let length = self.wanted();
            let (piece, rest) = data.split_at(data.len().min(length - self.gathered.len()));
            data = rest;
            if piece.len() == length {
                self.state = self.part(piece, output)?;
                continue;
            }
            self.gathered.reserve_exact(length - self.gathered.len());
            self.gathered.extend_from_slice(piece);
            if self.gathered.len() == length {
                let is_block = matches!(self.state, State::Block { .. });
                let mut part = std::mem::take(&mut self.gathered);
                self.state = self.part(&part, output)?;
                if is_block {
                    // The next one takes the same memory.
                    part.clear();
                    self.gathered = part;
                }
            }
        }
        Ok(())
    }

    /// The length of the part that comes next: at least 1, at most a block and its checksum.
    fn wanted(&self) -> usize {
        match self.state {
            State::Magic | State::BlockSize | State::ContentChecksum | State::SkippedLength => 4,
            State::Descriptor => 2,
            State::DescriptorEnd { flags, .. } => 1 + if flags.has_content_size() { 8 } else { 0 },
            State::Block { size, .. } => size + self.frame.checksum_length(),
            State::Skipped { left } => left,
        }
    }

    fn part(&mut self, part: &[u8], output: &mut Output<'_>) -> Result<State, UnpackError> {
        match self.state {
            State::Magic => match le32(part) {
                MAGIC => Ok(State::Descriptor),
                magic if magic & !0xF == SKIPPABLE => Ok(State::SkippedLength),
                magic => malformed(format!("no lz4 frame begins with {magic:08x}")),
            },
            State::SkippedLength => Ok(State::skipping(le32(part) as usize)),
            State::Skipped { .. } => Ok(State::Magic),
            State::Descriptor => descriptor(Flags(part[0]), part[1]),
            State::DescriptorEnd { flags, bd } => self.begin(flags, bd, part),
            State::BlockSize => self.frame.block_size(le32(part)),
            State::Block { size, is_compressed } => {
                let (data, checksum) = part.split_at(size);
                if !checksum.is_empty() && le32(checksum) != xxh32(data, 0) {
                    return malformed("an lz4 block has a wrong checksum");
                }
                self.frame.block(data, is_compressed, output)
            }
            State::ContentChecksum if le32(part) == self.frame.content.digest() => Ok(State::Magic),
            State::ContentChecksum => malformed("an lz4 frame's content has a wrong checksum"),
        }
    }

    /// The frame's header is whole: memory is taken by it.
    fn begin(&mut self, flags: Flags, bd: u8, end: &[u8]) -> Result<State, UnpackError> {
        let (content_size, checksum) = end.split_at(end.len() - 1);
        let header = [&[flags.0, bd], content_size].concat();
        if checksum != [(xxh32(&header, 0) >> 8) as u8] {
            return malformed("an lz4 frame's header has a wrong checksum");
        }
        let block = 1 << (8 + 2 * (bd >> 4));
        let buffer = HISTORY + block;
        // A block is gathered before it is decompressed.
        self.share.take(buffer + block + 4)?;
        if self.frame.buffer.len() != buffer {
            // The old ones go first.
            (self.gathered, self.frame.buffer) = (Vec::new(), Vec::new());
            self.frame.buffer = vec![0; buffer];
        }
        self.frame.flags = flags;
        self.frame.known = 0;
        self.frame.content_size = content_size.try_into().ok().map(u64::from_le_bytes);
        self.frame.content = Xxh32::new(0);
        self.frame.length = 0;
        Ok(State::BlockSize)
    }
}

impl State {
    fn skipping(left: usize) -> State {
        if left == 0 { State::Magic } else { State::Skipped { left } }
    }
}

fn descriptor(flags: Flags, bd: u8) -> Result<State, UnpackError> {
    if !flags.is_known() || bd & 0x8F != 0 || bd >> 4 < 4 {
        return malformed(format!("an lz4 frame's header has unknown bits ({:02x} {bd:02x})", flags.0));
    }
    if flags.needs_dictionary() {
        return malformed("an lz4 frame needs a dictionary");
    }
    Ok(State::DescriptorEnd { flags, bd })
}

impl Frame {
    fn checksum_length(&self) -> usize {
        if self.flags.has_block_checksums() { 4 } else { 0 }
    }

    fn block_size(&self, word: u32) -> Result<State, UnpackError> {
        if word == 0 {
            return self.end_mark();
        }
        let (size, limit) = ((word & !NOT_COMPRESSED) as usize, self.buffer.len() - HISTORY);
        if size == 0 || size > limit {
            return malformed(format!("an lz4 block of {size} bytes; 1 to {limit} are allowed"));
        }
        Ok(State::Block { size, is_compressed: word & NOT_COMPRESSED == 0 })
    }

    fn end_mark(&self) -> Result<State, UnpackError> {
        match self.content_size {
            Some(size) if size != self.length => {
                malformed(format!("an lz4 frame has {} bytes of content, not {size}", self.length))
            }
            _ if self.flags.has_content_checksum() => Ok(State::ContentChecksum),
            _ => Ok(State::Magic),
        }
    }

    fn block(&mut self, data: &[u8], is_compressed: bool, output: &mut Output<'_>) -> Result<State, UnpackError> {
        let (history, room) = self.buffer.split_at_mut(HISTORY);
        let length = if is_compressed {
            let history = &history[HISTORY - self.known..];
            match decompress_into_with_dict(data, room, history) {
                Ok(length) => length,
                Err(error) => return malformed(format!("an lz4 block is damaged: {error}")),
            }
        } else {
            room[..data.len()].copy_from_slice(data);
            data.len()
        };
        let plain = &room[..length];
        self.length += length as u64;
        if self.flags.has_content_checksum() {
            self.content.update(plain);
        }
        output(plain)?;
        if !self.flags.has_independent_blocks() {
            self.buffer.copy_within(length..length + HISTORY, 0);
            self.known = HISTORY.min(self.known + length);
        }
        Ok(State::BlockSize)
    }
}

fn le32(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests;

//! Members that are compressed.

use std::fs;
use std::io::{self, Read};

use lz4_flex::frame::FrameDecoder;
use mysqlset::unpack::Format;

use super::stage;
use crate::xbstream::write::{end, payload};

/// Bombs of more bytes are left alone: what they take is time.
const LONGEST: u64 = 1 << 20;

/// What is taken is what another decoder makes of it. The first two bytes say by what it is compressed, and in pieces of
/// which length it comes.
pub fn compressed_members(data: &[u8]) {
    let [kind, piece, content @ ..] = data else { return };
    let (name, expected) = match kind % 2 {
        0 => (b"a.zst", by_zstd(content)),
        _ => (b"a.lz4", by_lz4(content)),
    };
    if expected.as_ref().is_ok_and(|expected| expected.len() as u64 > LONGEST) {
        return;
    }
    let piece = 1 + 16 * usize::from(*piece);
    let mut stream = Vec::new();
    for (number, part) in content.chunks(piece).enumerate() {
        stream.extend(payload(0, name, (number * piece) as u64, part));
    }
    stream.extend(end(name));
    // What is refused may be more: windows that take too much memory, and frames without their end, which lz4_flex bears.
    let _ = stage::unpacked(Format::XbstreamPercona, &stream, |_, directory| {
        assert!(fs::read(directory.join("a")).unwrap() == *expected.as_ref().expect("only ours takes it"));
    });
}

/// The library wants one frame at least.
fn by_zstd(content: &[u8]) -> io::Result<Vec<u8>> {
    if content.is_empty() {
        return Ok(Vec::new());
    }
    read_all(zstd::stream::Decoder::with_buffer(content)?)
}

/// One frame after the other; those that are to be skipped are unknown to the library.
fn by_lz4(mut content: &[u8]) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    while !content.is_empty() {
        match content {
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, a, b, c, d, rest @ ..] => {
                let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
                content = rest.get(length..).ok_or(io::ErrorKind::UnexpectedEof)?;
            }
            _ => all.extend(read_all(FrameDecoder::new(&mut content))?),
        }
        if all.len() as u64 > LONGEST {
            break;
        }
    }
    Ok(all)
}

fn read_all(decoder: impl Read) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    decoder.take(LONGEST + 1).read_to_end(&mut all)?;
    Ok(all)
}

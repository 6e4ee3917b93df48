//! Frames made by another encoder, and one named test for each way in which one can be bad.

use std::io::Write;

use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

use super::*;
use crate::unpack::compressed::{Compression, Memory};

fn packed(info: FrameInfo, data: &[u8]) -> Vec<u8> {
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// All checksums and the content's size.
fn checked(data: &[u8]) -> FrameInfo {
    FrameInfo::new().block_checksums(true).content_checksum(true).content_size(Some(data.len() as u64))
}

/// Goes back further than one block of 64 KiB, and has some that don't compress.
fn data() -> Vec<u8> {
    let mut state = 1u32;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    let noise: Vec<u8> = noise.take(100_000).collect();
    let words: Vec<u8> = (0..50_000u32).flat_map(|number| (number / 9).to_le_bytes()).collect();
    [&noise[..], &words, &noise[50_000..], &words[..70_000]].concat()
}

fn decompressed(packed: &[u8], step: usize) -> Result<Vec<u8>, UnpackError> {
    crate::unpack::compressed::decompressed(Compression::Lz4, packed, step)
}

fn refusal(packed: &[u8]) -> String {
    decompressed(packed, 100).unwrap_err().to_string()
}

/// A frame with a good header and these blocks.
fn frame_of(flags: u8, bd: u8, content_size: Option<u64>, blocks: &[u8]) -> Vec<u8> {
    let content_size = content_size.map(u64::to_le_bytes);
    let header = [&[flags, bd][..], content_size.as_ref().map_or(&[], |bytes| &bytes[..])].concat();
    let checksum = (xxh32(&header, 0) >> 8) as u8;
    [&MAGIC.to_le_bytes()[..], &header, &[checksum], blocks].concat()
}

const PLAIN: u8 = 0b0110_0000;

#[test]
fn every_kind_of_frame_in_pieces_of_any_size() {
    let data = data();
    for mode in [BlockMode::Independent, BlockMode::Linked] {
        for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB] {
            for info in [FrameInfo::new(), checked(&data)] {
                let packed = packed(info.block_mode(mode).block_size(size), &data);
                for step in [1, 3, 1000, 65_536, usize::MAX] {
                    assert!(decompressed(&packed, step).unwrap() == data, "{mode:?} {size:?} in pieces of {step}");
                }
            }
        }
    }
    assert_eq!(decompressed(b"", 1).unwrap(), b"");
}

#[test]
fn frames_follow_each_other_and_some_are_skipped() {
    let data = data();
    let (first, second) = data.split_at(150_000);
    let skippable =
        |length: u32| [&0x184D_2A5Fu32.to_le_bytes()[..], &length.to_le_bytes(), &vec![b'?'; length as usize]].concat();
    let frames = [
        packed(checked(first), first),
        skippable(0),
        packed(FrameInfo::new(), b""),
        skippable(1000),
        packed(checked(second).block_mode(BlockMode::Linked), second),
    ];
    for step in [1, 7, usize::MAX] {
        assert!(decompressed(&frames.concat(), step).unwrap() == data);
    }
    let cut = &frames.concat()[..frames[0].len() + 7];
    assert!(refusal(cut).contains("ends inside"));
}

#[test]
fn every_cut() {
    let data = &data()[99_000..103_000];
    for info in [FrameInfo::new(), checked(data)] {
        let packed = packed(info, data);
        for cut in 1..packed.len() {
            let what = refusal(&packed[..cut]);
            assert!(what.contains("ends inside"), "cut at {cut} of {}: {what}", packed.len());
        }
    }
}

#[test]
fn every_flipped_bit() {
    let data = &data()[99_000..103_000];
    let packed = packed(checked(data), data);
    for bit in 0..packed.len() * 8 {
        let mut damaged = packed.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(decompressed(&damaged, 100).is_err(), "bit {bit} of byte {}", bit / 8);
    }
}

#[test]
fn a_wrong_checksum_of_header_block_or_content() {
    let good = packed(checked(b"some data"), b"some data");
    let content = good.len() - 1;
    let block = good.len() - 9;
    for (at, word) in [(14, "header"), (block, "block"), (content, "content")] {
        let mut damaged = good.clone();
        damaged[at] ^= 1;
        let what = refusal(&damaged);
        assert!(what.contains(word) && what.contains("wrong checksum"), "{what}");
    }
}

#[test]
fn garbage_behind_the_last_frame() {
    let good = packed(FrameInfo::new(), b"data");
    assert!(refusal(&[&good[..], b"garbage"].concat()).contains("no lz4 frame begins"));
    assert!(refusal(&[&good[..], b"\0"].concat()).contains("ends inside"));
}

#[test]
fn the_format_before_frames() {
    assert!(refusal(&0x184C_2102u32.to_le_bytes()).contains("no lz4 frame begins"));
}

#[test]
fn reserved_bits_and_other_versions() {
    let end = [0; 4];
    assert_eq!(decompressed(&frame_of(PLAIN, 0x40, None, &end), 1).unwrap(), b"");
    for (flags, bd) in [
        (PLAIN | 2, 0x40),
        (PLAIN ^ 0b1100_0000, 0x40),
        (PLAIN ^ 0b0100_0000, 0x40),
        (PLAIN, 0xC0),
        (PLAIN, 0x41),
        (PLAIN, 0x48),
        (PLAIN, 0x30),
    ] {
        assert!(refusal(&frame_of(flags, bd, None, &end)).contains("unknown bits"), "{flags:08b} {bd:02x}");
    }
}

#[test]
fn a_frame_that_needs_a_dictionary() {
    assert!(refusal(&frame_of(PLAIN | 1, 0x40, None, &[0; 8])).contains("dictionary"));
}

#[test]
fn a_block_larger_than_the_frame_says() {
    for size in [(64u32 << 10) + 1, ((64 << 10) + 1) | NOT_COMPRESSED, NOT_COMPRESSED - 1, u32::MAX, NOT_COMPRESSED] {
        assert!(refusal(&frame_of(PLAIN, 0x40, None, &size.to_le_bytes())).contains("65536 are allowed"), "{size:x}");
    }
    // 4 MiB of zeros in one block of a frame whose blocks are of 64 KiB.
    let block = lz4_flex::block::compress(&vec![0; 4 << 20]);
    let blocks = [&(block.len() as u32).to_le_bytes()[..], &block, &[0; 4]].concat();
    assert!(refusal(&frame_of(PLAIN, 0x40, None, &blocks)).contains("is damaged"));
}

#[test]
fn a_block_that_refers_to_what_never_came() {
    // One literal, then a match from two bytes before the frame's beginning.
    let block = [0x10, b'x', 3, 0, 0x50, b'a', b'b', b'c', b'd', b'e'];
    for flags in [PLAIN, PLAIN ^ 0b0010_0000] {
        let blocks = [&(block.len() as u32).to_le_bytes()[..], &block, &[0; 4]].concat();
        assert!(refusal(&frame_of(flags, 0x40, None, &blocks)).contains("is damaged"));
    }
}

#[test]
fn independent_blocks_do_not_know_each_other() {
    let data = [b"0123456789abcdef".repeat(4096), b"0123456789abcdef".repeat(4096)].concat();
    let linked = packed(FrameInfo::new().block_mode(BlockMode::Linked).block_size(BlockSize::Max64KB), &data);
    assert!(decompressed(&linked, 100).unwrap() == data);
    let blocks = &linked[7..];
    assert!(refusal(&frame_of(PLAIN, 0x40, None, blocks)).contains("is damaged"));
}

#[test]
fn content_of_another_size() {
    let raw = [&(4u32 | NOT_COMPRESSED).to_le_bytes()[..], b"data", &[0; 4]].concat();
    let with_size = |size| frame_of(PLAIN | 0b1000, 0x40, Some(size), &raw);
    assert_eq!(decompressed(&with_size(4), 1).unwrap(), b"data");
    for size in [0, 3, 5, u64::MAX] {
        assert!(refusal(&with_size(size)).contains(&format!("4 bytes of content, not {size}")), "{size}");
    }
}

#[test]
fn open_decoders_together_stay_below_the_limit() {
    for (size, bd, most) in [(64 << 10, 0x40, 63), (256 << 10, 0x50, 21), (1 << 20, 0x60, 5), (4 << 20, 0x70, 1)] {
        let memory = Memory::default();
        let mut open = Vec::new();
        let error = loop {
            let mut decoder = Decoder::new(memory.share());
            // As much as can be gathered of a block.
            let block = [&(size as u32 | NOT_COMPRESSED).to_le_bytes()[..], &vec![0; size - 1]].concat();
            let mut begun = frame_of(PLAIN, bd, None, &block);
            begun.truncate(begun.len() - 1);
            match begun.chunks(1000).try_for_each(|piece| decoder.feed(piece, &mut |_| Ok(()))) {
                Ok(()) => open.push(decoder),
                Err(error) => break error,
            }
        };
        assert!(error.to_string().contains("12 MiB"), "{error}");
        assert_eq!(open.len(), most, "blocks of {size}");
        let taken: usize =
            open.iter().map(|decoder| decoder.frame.buffer.capacity() + decoder.gathered.capacity()).sum();
        assert!(taken <= 12 << 20, "{taken}");
        drop(open);
        assert_eq!(memory.share().allowance(), 12 << 20);
    }
}

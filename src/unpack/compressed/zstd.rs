//! zstd: concatenated and skippable frames, whose windows are bounded.

use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode::ZSTD_error_frameParameter_windowTooLarge as WINDOW_TOO_LARGE;
use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, get_error_name, is_error_kind};

use super::memory::{Share, too_much};
use super::output::Output;
use crate::unpack::error::{UnpackError, malformed};

/// What a decoder needs beside its window, in bytes: its tables, and buffers for three blocks of 128 KiB.
const BESIDE_THE_WINDOW: usize = 640 << 10;

/// The smallest bound on windows that the library takes: 1 KiB.
const LEAST_WINDOW_LOG: u32 = 10;

const MAGIC: u32 = 0xFD2F_B528;

/// What a skippable frame begins with, but for the last four bits.
const SKIPPABLE: u32 = 0x184D_2A50;

/// Bytes that are given out at a time.
const PIECE: usize = 32 << 10;

/// Decompresses a member, piece by piece.
pub struct Decoder {
    /// From the first frame on: many members may be open that have none yet.
    context: Option<DCtx<'static>>,
    /// A frame's header as far as it has come. The library gets it whole: it takes memory by it, at that moment.
    header: Vec<u8>,
    /// Behind a frame's header and before its end.
    inside: bool,
    share: Share,
}

impl Decoder {
    pub fn new(share: Share) -> Decoder {
        Decoder { context: None, header: Vec::new(), inside: false, share }
    }

    pub fn is_inside_a_frame(&self) -> bool {
        self.inside || !self.header.is_empty()
    }

    pub fn feed(&mut self, mut data: &[u8], output: &mut Output<'_>) -> Result<(), UnpackError> {
        while let Some((first, rest)) = data.split_first() {
            if self.inside {
                let used = self.decode(data, output)?;
                data = &data[used..];
                continue;
            }
            self.header.push(*first);
            data = rest;
            if header_length(&self.header) == Some(self.header.len()) {
                self.bound_the_window()?;
                let header = std::mem::take(&mut self.header);
                self.decode(&header, output)?;
            }
        }
        Ok(())
    }

    /// Decompresses up to the data's or the frame's end, and returns the bytes used.
    fn decode(&mut self, data: &[u8], output: &mut Output<'_>) -> Result<usize, UnpackError> {
        let mut piece = [0; PIECE];
        let mut input = InBuffer::around(data);
        let context = self.context.get_or_insert_with(DCtx::create);
        loop {
            let mut decompressed = OutBuffer::around(&mut piece[..]);
            let left = context.decompress_stream(&mut decompressed, &mut input).or_else(fault)?;
            self.inside = left != 0;
            output(decompressed.as_slice())?;
            let may_have_more = decompressed.pos() == PIECE || input.pos() < data.len();
            if !self.inside || !may_have_more {
                break;
            }
        }
        self.share.take(context.sizeof())?;
        Ok(input.pos())
    }

    /// By what the other open members leave of the memory.
    fn bound_the_window(&mut self) -> Result<(), UnpackError> {
        let left = self.share.allowance().saturating_sub(BESIDE_THE_WINDOW);
        match left.checked_ilog2() {
            Some(log) if log >= LEAST_WINDOW_LOG => {
                let context = self.context.get_or_insert_with(DCtx::create);
                context.set_parameter(DParameter::WindowLogMax(log)).or_else(fault)?;
                Ok(())
            }
            _ => too_much(),
        }
    }
}

/// How long a header is that begins so, once it can be known. (RFC 8878, 3.1.1)
fn header_length(header: &[u8]) -> Option<usize> {
    let magic = u32::from_le_bytes(*header.first_chunk()?);
    if magic & !0xF == SKIPPABLE {
        return Some(8);
    }
    if magic != MAGIC {
        // Not for long: the library refuses it.
        return Some(4);
    }
    let descriptor = *header.get(4)?;
    let is_single_segment = descriptor & 1 << 5 != 0;
    let window = usize::from(!is_single_segment);
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let content_size = [usize::from(is_single_segment), 2, 4, 8][usize::from(descriptor >> 6)];
    Some(5 + window + dictionary + content_size)
}

fn fault<T>(code: usize) -> Result<T, UnpackError> {
    if is_error_kind(code, WINDOW_TOO_LARGE) {
        return too_much();
    }
    malformed(format!("it is no good zstd: {}", get_error_name(code)))
}

#[cfg(test)]
mod tests {
    use super::super::{Compression, Memory};
    use super::*;
    use zstd::zstd_safe::{CCtx, CParameter};

    /// As XtraBackup makes a frame: level 1 and a checksum.
    fn frame(data: &[u8]) -> Vec<u8> {
        frame_with(data, &[CParameter::CompressionLevel(1), CParameter::ChecksumFlag(true)])
    }

    fn frame_with(data: &[u8], parameters: &[CParameter]) -> Vec<u8> {
        let mut context = CCtx::create();
        for parameter in parameters {
            context.set_parameter(*parameter).unwrap();
        }
        let mut packed = Vec::with_capacity(zstd::zstd_safe::compress_bound(data.len()));
        context.compress2(&mut packed, data).unwrap();
        packed
    }

    fn data() -> Vec<u8> {
        (0..100_000u32).flat_map(|number| (number / 7).to_le_bytes()).collect()
    }

    fn decompressed(packed: &[u8], step: usize) -> Result<Vec<u8>, UnpackError> {
        super::super::decompressed(Compression::Zstd, packed, step)
    }

    fn refusal(packed: &[u8]) -> String {
        decompressed(packed, 100).unwrap_err().to_string()
    }

    #[test]
    fn frames_in_pieces_of_any_size() {
        let data = data();
        let (first, second) = data.split_at(150_000);
        let skippable = [0x184D_2A53u32.to_le_bytes().as_slice(), &3u32.to_le_bytes(), b"???"].concat();
        let packed = [frame(first), skippable, frame(b""), frame(second)].concat();
        for step in [1, 2, 3, 1000, 65_536, usize::MAX] {
            assert!(decompressed(&packed, step).unwrap() == data, "in pieces of {step}");
        }
        assert_eq!(decompressed(b"", 1).unwrap(), b"");
    }

    #[test]
    fn every_cut() {
        let packed = frame(&data()[..3000]);
        for cut in 1..packed.len() {
            let what = refusal(&packed[..cut]);
            assert!(what.contains("ends inside"), "cut at {cut} of {}: {what}", packed.len());
        }
    }

    #[test]
    fn every_flipped_bit() {
        let data = &data()[..3000];
        let packed = frame(data);
        for bit in 0..packed.len() * 8 {
            let mut damaged = packed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if let Ok(plain) = decompressed(&damaged, 100) {
                assert!(plain == data, "bit {bit}");
            }
        }
    }

    #[test]
    fn a_wrong_checksum() {
        let mut packed = frame(b"some data");
        *packed.last_mut().unwrap() ^= 1;
        assert!(refusal(&packed).contains("checksum"));
    }

    #[test]
    fn garbage_behind_the_last_frame() {
        assert!(refusal(&[frame(b"data"), b"garbage".to_vec()].concat()).contains("no good zstd"));
        assert!(refusal(&[frame(b"data"), vec![0]].concat()).contains("ends inside"));
    }

    #[test]
    fn a_reserved_bit() {
        let mut packed = frame(b"data");
        packed[4] |= 1 << 3;
        assert!(refusal(&packed).contains("no good zstd"));
    }

    #[test]
    fn a_frame_that_needs_a_dictionary() {
        let mut packed = frame(b"data");
        // One more byte in the header: the dictionary's number.
        packed[4] |= 1;
        packed.insert(5, 7);
        assert!(refusal(&packed).contains("no good zstd"));
    }

    fn with_window(log: u32) -> Vec<u8> {
        // A frame's header that claims a window, and an empty last block.
        [&MAGIC.to_le_bytes()[..], &[0, ((log - 10) << 3) as u8], &[1, 0, 0]].concat()
    }

    #[test]
    fn windows_as_large_as_xtrabackup_makes_them_and_no_larger() {
        for log in 10..=23 {
            assert_eq!(decompressed(&with_window(log), 100).unwrap(), b"", "{log}");
        }
        for log in 24..=41 {
            assert!(refusal(&with_window(log)).contains("12 MiB"), "{log}");
        }
    }

    #[test]
    fn open_decoders_together_stay_below_the_limit() {
        let memory = Memory::default();
        for (level, least, log) in [(1, 10, 19), (19, 1, 23)] {
            let long = vec![7; 9 << 20];
            let parameters =
                [CParameter::CompressionLevel(level), CParameter::ContentSizeFlag(false), CParameter::WindowLog(log)];
            let packed = frame_with(&long, &parameters);
            let mut open = Vec::new();
            let error = loop {
                let mut decoder = Decoder::new(memory.share());
                // All but the end, so that it stays open.
                match decoder.feed(&packed[..packed.len() - 4], &mut |_| Ok(())) {
                    Ok(()) => open.push(decoder),
                    Err(error) => break error,
                }
            };
            assert!(error.to_string().contains("12 MiB"), "{error}");
            assert!(open.len() >= least, "{} of level {level}", open.len());
            for decoder in &open {
                let window = 1 << log;
                let taken = decoder.context.as_ref().unwrap().sizeof();
                assert!((window..window + BESIDE_THE_WINDOW).contains(&taken), "{taken}");
            }
            drop(open);
            assert_eq!(memory.share().allowance(), 12 << 20);
        }
    }
}

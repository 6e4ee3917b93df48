//! Members that the backup tool compressed: decompressed while they arrive, in pieces of any size, between pieces of
//! other members.
//!
//! `--compress` makes each member of a stream, but `xtrabackup_checkpoints`, a compressed file whose suffix says how:
//!
//! | suffix | who writes it | here |
//! |---|---|---|
//! | `.zst` | XtraBackup from 8.0.30: a frame for each write of up to 10 MiB, with a checksum | [`zstd`] |
//! | `.lz4` | XtraBackup from 8.0.7: the same, in independent blocks of 64 KiB | [`lz4`] |
//! | `.qp` | XtraBackup up to 8.0.33, and mariadb-backup | refused: nobody looks after a QuickLZ any more |
//! | `.xbcrypt`, after these | XtraBackup with `--encrypt` | refused: the keys are elsewhere |
//!
//! A member without a byte is an empty file: the tools write no frame where they read nothing.

pub mod lz4;
mod memory;
mod output;
mod suffix;
pub mod zstd;

use super::{UnpackError, malformed};

pub use memory::Memory;
pub use output::Output;
pub use suffix::{Compression, plain_name};

/// Decompresses one member.
pub enum Decoder {
    Zstd(zstd::Decoder),
    Lz4(lz4::Decoder),
}

impl Decoder {
    /// Takes no memory yet; what it takes later is shared with the other members that are open.
    pub fn new(compression: Compression, memory: &Memory) -> Result<Decoder, UnpackError> {
        match compression {
            Compression::Zstd => Ok(Decoder::Zstd(zstd::Decoder::new(memory.share()))),
            Compression::Lz4 => Ok(Decoder::Lz4(lz4::Decoder::new(memory.share()))),
            Compression::Quicklz => malformed("QuickLZ can't be decompressed here"),
        }
    }

    /// Takes the member's next bytes, and gives out what they make complete.
    pub fn feed(&mut self, data: &[u8], output: &mut Output<'_>) -> Result<(), UnpackError> {
        match self {
            Decoder::Zstd(decoder) => decoder.feed(data, output),
            Decoder::Lz4(decoder) => decoder.feed(data, output),
        }
    }

    /// The member has come to its end; an error where that is inside a frame.
    pub fn finish(self) -> Result<(), UnpackError> {
        let inside = match self {
            Decoder::Zstd(decoder) => decoder.is_inside_a_frame(),
            Decoder::Lz4(decoder) => decoder.is_inside_a_frame(),
        };
        if inside { malformed("it ends inside a compressed frame") } else { Ok(()) }
    }
}

/// All of a member, fed in pieces of this size.
#[cfg(test)]
fn decompressed(compression: Compression, packed: &[u8], step: usize) -> Result<Vec<u8>, UnpackError> {
    let mut decoder = Decoder::new(compression, &Memory::default())?;
    let mut plain = Vec::new();
    for piece in packed.chunks(step) {
        decoder.feed(piece, &mut |data| {
            plain.extend_from_slice(data);
            Ok(())
        })?;
    }
    decoder.finish()?;
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(name: &str) -> Result<(String, Option<Compression>), UnpackError> {
        let (path, compression) = plain_name(name.as_bytes())?;
        Ok((path.to_string(), compression))
    }

    #[test]
    fn a_suffix_is_taken_off_the_last_component_once() {
        for (name, expected, compression) in [
            ("a/b.ibd.zst", "a/b.ibd", Some(Compression::Zstd)),
            ("ibdata1.lz4", "ibdata1", Some(Compression::Lz4)),
            ("a.lz4.zst", "a.lz4", Some(Compression::Zstd)),
            ("a.zst/b", "a.zst/b", None),
            ("a/b.zst4", "a/b.zst4", None),
            ("a/.zst", "a/.zst", None),
            ("a/.lz4", "a/.lz4", None),
        ] {
            assert_eq!(plain(name).unwrap(), (expected.to_owned(), compression));
        }
    }

    #[test]
    fn what_is_left_of_a_name_is_checked_again() {
        for name in ["..zst", "...lz4", "a/..zst", "a/...zst"] {
            assert!(plain(name).unwrap_err().to_string().contains("is refused"), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_unpacked_says_what_to_change() {
        for (name, option) in [("a.qp", "`compress`"), ("a.xbcrypt", "`encrypt`"), ("a.zst.xbcrypt", "`encrypt`")] {
            assert!(plain(name).unwrap_err().to_string().contains(option), "{name}");
        }
    }
}

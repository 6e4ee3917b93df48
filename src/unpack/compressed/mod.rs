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
pub mod zstd;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::path::MemberPath;
use super::{UnpackError, malformed};

pub use memory::Memory;

/// How a tool may compress members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    Zstd,
    Lz4,
    Quicklz,
}

impl Compression {
    /// Those that are decompressed here.
    pub const TAKEN: [Compression; 2] = [Compression::Zstd, Compression::Lz4];

    const ALL: [Compression; 3] = [Compression::Zstd, Compression::Lz4, Compression::Quicklz];

    fn suffix(self) -> &'static [u8] {
        match self {
            Compression::Zstd => b".zst",
            Compression::Lz4 => b".lz4",
            Compression::Quicklz => b".qp",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compression::Zstd => "zstd",
            Compression::Lz4 => "lz4",
            Compression::Quicklz => "quicklz",
        })
    }
}

/// The file that a member becomes, and how the member is compressed; an error where it can't be decompressed here.
pub fn plain_name(name: &[u8]) -> Result<(MemberPath, Option<Compression>), UnpackError> {
    if without_suffix(name, b".xbcrypt").is_some() {
        let member = MemberPath::new(name)?;
        return malformed(format!(
            "{member} is encrypted, and can't be decrypted here: remove `encrypt` from the options files that the \
             donor's backup tool reads"
        ));
    }
    for compression in Compression::ALL {
        match without_suffix(name, compression.suffix()) {
            None => {}
            Some(_) if !Compression::TAKEN.contains(&compression) => {
                let member = MemberPath::new(name)?;
                return malformed(format!(
                    "{member} is compressed with {compression}, which can't be decompressed here: remove `compress` \
                     from the options files that the donor's backup tool reads, or set it to zstd or lz4 where the \
                     tool can"
                ));
            }
            // Of a name that is as long as one may be, the member's is longer.
            Some(plain) => return Ok((MemberPath::new(plain)?, Some(compression))),
        }
    }
    Ok((MemberPath::new(name)?, None))
}

/// A name without a suffix of its last component, where it has that suffix and something before it.
fn without_suffix<'a>(name: &'a [u8], suffix: &[u8]) -> Option<&'a [u8]> {
    name.strip_suffix(suffix).filter(|rest| !rest.is_empty() && !rest.ends_with(b"/"))
}

/// Where decompressed bytes go.
pub type Output<'a> = dyn FnMut(&[u8]) -> Result<(), UnpackError> + 'a;

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

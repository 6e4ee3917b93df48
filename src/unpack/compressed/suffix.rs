//! The suffix of a compressed member, and the name of the file that it becomes.

use serde::{Deserialize, Serialize};
use strum::VariantArray as _;

use crate::unpack::error::{UnpackError, malformed};
use crate::unpack::path::MemberPath;

/// The compression of a member by the tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::Display, strum::VariantArray)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Compression {
    Zstd,
    Lz4,
    Quicklz,
}

impl Compression {
    /// The compressions that can be undone here.
    pub const TAKEN: [Compression; 2] = [Compression::Zstd, Compression::Lz4];

    fn suffix(self) -> &'static [u8] {
        match self {
            Compression::Zstd => b".zst",
            Compression::Lz4 => b".lz4",
            Compression::Quicklz => b".qp",
        }
    }
}

/// The name of the file in a member, and its compression. Fails if the member cannot be decompressed here.
pub fn plain_name(name: &[u8]) -> Result<(MemberPath, Option<Compression>), UnpackError> {
    if without_suffix(name, b".xbcrypt").is_some() {
        let member = MemberPath::new(name)?;
        return malformed(format!(
            "{member} is encrypted, and cannot be decrypted here: remove `encrypt` from the options files that the \
             donor's backup tool reads"
        ));
    }
    for &compression in Compression::VARIANTS {
        match without_suffix(name, compression.suffix()) {
            None => {}
            Some(_) if !Compression::TAKEN.contains(&compression) => {
                let member = MemberPath::new(name)?;
                return malformed(format!(
                    "{member} is compressed with {compression}, which cannot be decompressed here: remove `compress` \
                     from the options files that the donor's backup tool reads, or set it to zstd or lz4 if the \
                     tool supports that"
                ));
            }
            // The name of a compressed member may be longer than the longest file name.
            Some(plain) => return Ok((MemberPath::new(plain)?, Some(compression))),
        }
    }
    Ok((MemberPath::new(name)?, None))
}

/// Removes a suffix of the last component, if something remains before it.
fn without_suffix<'a>(name: &'a [u8], suffix: &[u8]) -> Option<&'a [u8]> {
    name.strip_suffix(suffix).filter(|rest| !rest.is_empty() && !rest.ends_with(b"/"))
}

//! The suffix of a compressed member, and the name of the file that it becomes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::unpack::error::{UnpackError, malformed};
use crate::unpack::path::MemberPath;

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

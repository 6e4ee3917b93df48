//! Computes the digest of a backup stream, and defines the part of the stream that it covers.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

/// The part of a stream that its digest covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", const_into_str)]
pub enum Coverage {
    /// Every byte.
    #[default]
    Whole,
    /// Every byte except the data of an xbstream's payload and sparse chunks. Those have a checksum in their
    /// chunk's head, which the digest covers, and the recipient compares it. This saves both ends the digest of
    /// the data, and the donor can relay them unread.
    Heads,
}

impl Coverage {
    /// Coverages that a hello may name. Every recipient can check [`Coverage::Whole`].
    pub const BESIDE_WHOLE: [Coverage; 1] = [Coverage::Heads];
}

/// Counts and digests a backup stream: XXH3-128.
#[derive(Default)]
pub struct Tally {
    coverage: Coverage,
    bytes: u64,
    digest: Box<Xxh3>,
}

impl Tally {
    pub fn new(coverage: Coverage) -> Tally {
        Tally { coverage, ..Tally::default() }
    }

    /// Adds bytes without a checksum of their own.
    pub fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.digest.update(bytes);
    }

    /// Adds bytes with a checksum of their own.
    pub fn add_checksummed(&mut self, bytes: &[u8]) {
        match self.coverage {
            Coverage::Whole => self.add(bytes),
            Coverage::Heads => self.bytes += bytes.len() as u64,
        }
    }

    /// Adds this many bytes that have a checksum and were relayed unread.
    pub fn add_unseen(&mut self, count: u64) {
        debug_assert_eq!(self.coverage, Coverage::Heads);
        self.bytes += count;
    }

    pub fn coverage(&self) -> Coverage {
        self.coverage
    }

    /// Bytes of the stream so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// 32 hexadecimal digits.
    pub fn digest(&self) -> String {
        format!("{:032x}", self.digest.digest128())
    }
}

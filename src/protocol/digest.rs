//! The digest of a backup stream, and what of the stream it covers.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

/// What of a stream goes into its digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Coverage {
    /// Every byte.
    #[default]
    Whole,
    /// Every byte but the data of an xbstream's payload and sparse chunks: those have a checksum in their chunk's head,
    /// which the digest covers, and the recipient compares it. So neither end looks at them for the digest's sake, and
    /// the donor need not look at them at all.
    Heads,
}

impl Coverage {
    /// Those that a recipient can be asked to check beside [`Coverage::Whole`], which everyone can.
    pub const BESIDE_WHOLE: [Coverage; 1] = [Coverage::Heads];

    /// The name in a hello.
    pub fn name(self) -> &'static str {
        match self {
            Coverage::Whole => "whole",
            Coverage::Heads => "heads",
        }
    }
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

    /// Takes bytes into account that have no checksum of their own.
    pub fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.digest.update(bytes);
    }

    /// The same for bytes that have one.
    pub fn add_checksummed(&mut self, bytes: &[u8]) {
        match self.coverage {
            Coverage::Whole => self.add(bytes),
            Coverage::Heads => self.bytes += bytes.len() as u64,
        }
    }

    /// Takes so many bytes into account that have a checksum and were not looked at.
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

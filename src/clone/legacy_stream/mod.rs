//! The tutorial's stream: `ncat` on both ends, no greeting, no proof and no end mark. A donor serves it and a recipient takes
//! it only where the operator said so.

pub mod connection;
pub mod donor;
pub mod recipient;

/// What is said where such a stream may not be taken.
pub const REFUSED: &str = "the donor is no mysqlset: it sends a backup without a word about it, as the tutorial's does; with \
    --take-unproven-stream it is taken, without proof of who sends it, without an end mark and without a digest";

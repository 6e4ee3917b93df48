//! The legacy stream: the tutorial's `ncat` on both ends. It lacks a greeting, a proof and an end mark. A donor serves
//! it and a recipient accepts it only if the operator allowed that.

pub mod connection;
pub mod donor;
pub mod recipient;

/// The refusal of a legacy stream that the operator has not allowed.
pub const REFUSED: &str = "the donor is no mysqlset and sends a legacy stream, as the tutorial's does; --take-unproven-stream \
    accepts it, with no proof of the sender, no end mark and no digest";

//! Both halves of the handshake, from the prefaces to a proven answer.
//!
//! A half does no I/O: it consumes the peer's messages and returns the bytes to send. Each state is a type, so a
//! message can only be used where it belongs. The callers read, write and limit the time: [`crate::clone::connection`]
//! for the recipient, and `crate::clone::donor::greeting` for the donor.

pub mod donor;
pub mod recipient;

#[cfg(test)]
mod tests;

use super::frame::{Kind, WireError};

/// Rejects a message in a wrong place.
pub fn require(kind: Kind, kinds: &[Kind]) -> Result<(), WireError> {
    if kinds.contains(&kind) {
        return Ok(());
    }
    Err(WireError::Malformed(format!("the peer sent a {kind:?} message where a {:?} belongs", kinds[0])))
}

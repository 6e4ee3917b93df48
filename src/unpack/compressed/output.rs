//! Where decompressed bytes go.

use crate::unpack::error::UnpackError;

/// Receives decompressed bytes.
pub type Output<'a> = dyn FnMut(&[u8]) -> Result<(), UnpackError> + 'a;

//! Where decompressed bytes go.

use crate::unpack::error::UnpackError;

/// Where decompressed bytes go.
pub type Output<'a> = dyn FnMut(&[u8]) -> Result<(), UnpackError> + 'a;

//! Memory that all decoders of a stream take together, whatever it says.

use std::cell::Cell;
use std::rc::Rc;

use crate::unpack::error::{UnpackError, malformed};

/// For all decoders together, in bytes: one of zstd's level 19 or of lz4's largest blocks, or eleven of what the tools
/// do unless told otherwise.
const LIMIT: usize = 12 << 20;

/// What decoders have taken so far.
#[derive(Clone, Default)]
pub struct Memory(Rc<Cell<usize>>);

impl Memory {
    /// A share for one more decoder, which has taken nothing yet.
    pub fn share(&self) -> Share {
        Share { all: self.clone(), own: 0 }
    }
}

/// What one decoder has taken; given back with it.
pub struct Share {
    all: Memory,
    own: usize,
}

impl Share {
    /// What this decoder may have in all, as long as the others keep what they have.
    pub fn allowance(&self) -> usize {
        LIMIT.saturating_sub(self.all.0.get() - self.own)
    }

    /// Takes so many bytes in all in the place of what it had.
    pub fn take(&mut self, bytes: usize) -> Result<(), UnpackError> {
        if bytes > self.allowance() {
            return too_much();
        }
        self.all.0.set(self.all.0.get() - self.own + bytes);
        self.own = bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.all.0.set(self.all.0.get() - self.own);
    }
}

/// An honest stream gets here by the donor's options only.
pub fn too_much<T>() -> Result<T, UnpackError> {
    malformed(format!(
        "decompressing it takes more than the {} MiB that there are for all open members: have the donor's backup tool \
         compress less hard, in smaller chunks, or fewer files at a time",
        LIMIT >> 20
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_never_exceed_the_limit_and_are_given_back() {
        let memory = Memory::default();
        let (mut one, mut other) = (memory.share(), memory.share());
        one.take(LIMIT - 10).unwrap();
        assert_eq!(other.allowance(), 10);
        assert!(other.take(11).is_err());
        other.take(10).unwrap();
        one.take(5).unwrap();
        assert_eq!(other.allowance(), LIMIT - 5);
        drop((one, other));
        assert_eq!(memory.share().allowance(), LIMIT);
    }
}

//! Limits the memory of all decoders of a stream together, so that no stream can exceed it.

use std::cell::Cell;
use std::rc::Rc;

use crate::unpack::error::{UnpackError, malformed};

/// For all decoders together, in bytes. That suffices for one with zstd's level 19 or lz4's largest blocks, or
/// for eleven with the tools' defaults.
const LIMIT: usize = 12 << 20;

/// The memory of all decoders so far.
#[derive(Clone, Default)]
pub struct Memory(Rc<Cell<usize>>);

impl Memory {
    /// An empty share for one more decoder.
    pub fn share(&self) -> Share {
        Share { all: self.clone(), own: 0 }
    }
}

/// The memory of one decoder. Dropping it returns the memory.
pub struct Share {
    all: Memory,
    own: usize,
}

impl Share {
    /// The largest total for this decoder, given the present shares of the others.
    pub fn allowance(&self) -> usize {
        LIMIT.saturating_sub(self.all.0.get() - self.own)
    }

    /// Changes this decoder's total to `bytes`.
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

/// An honest stream causes this only by unusual options of the donor.
pub fn too_much<T>() -> Result<T, UnpackError> {
    malformed(format!(
        "decompressing it takes more than the {} MiB available for all open members: make the donor's backup tool \
         compress at a lower level, in smaller chunks, or fewer files at a time",
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

//! Where a stream comes from.

use std::io::{self, Read};

/// The source of a stream. It may compute a digest of the bytes, except of those with a checksum of their own.
pub trait Source: Read {
    /// Reads bytes whose checksum the caller compares.
    fn read_checksummed(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
}

impl<S: Source> Source for &mut S {
    fn read_checksummed(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (**self).read_checksummed(buffer)
    }
}

/// A stream without a digest.
pub struct Undigested<R>(pub R);

impl<R: Read> Read for Undigested<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read> Source for Undigested<R> {
    fn read_checksummed(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

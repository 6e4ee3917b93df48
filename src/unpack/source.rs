//! Where a stream comes from.

use std::io::{self, Read};

/// Where a stream comes from: bytes, which may be digested on their way but for those that have a checksum.
pub trait Source: Read {
    /// Reads bytes that have a checksum, which the caller compares.
    fn read_checksummed(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
}

impl<S: Source> Source for &mut S {
    fn read_checksummed(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (**self).read_checksummed(buffer)
    }
}

/// A stream that nobody digests.
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

//! Frames of the backup stream packed with zstd, for links that are slower than a processor. Each frame is packed by
//! itself and says how long it was, so that nothing but this length decides how much memory it takes.

use std::io;

use super::frame::{DATA_LIMIT, WireError};

/// The name in a hello.
pub const ZSTD: &str = "zstd";

/// Bytes before the packed data: how long the data are without packing, u32.
pub const PREFIX: usize = 4;

/// The quickest of zstd's usual levels: the next ones take much more time for little less.
const LEVEL: i32 = 1;

/// The donor's side.
pub struct Packer {
    context: zstd::bulk::Compressor<'static>,
    packed: Vec<u8>,
}

impl Packer {
    pub fn new() -> io::Result<Packer> {
        Ok(Packer { context: zstd::bulk::Compressor::new(LEVEL)?, packed: Vec::new() })
    }

    /// The body of a packed frame; `None` where that would be no shorter.
    pub fn pack(&mut self, data: &[u8]) -> Option<&[u8]> {
        if data.len() <= PREFIX {
            return None;
        }
        // Where it gets no shorter the buffer is too small, which is an error that says just that.
        self.packed.resize(data.len(), 0);
        self.packed[..PREFIX].copy_from_slice(&(data.len() as u32).to_le_bytes());
        let length = self.context.compress_to_buffer(data, &mut self.packed[PREFIX..]).ok()?;
        Some(&self.packed[..PREFIX + length])
    }
}

/// The recipient's side: the frame that is being read.
pub struct Unpacker {
    context: zstd::bulk::Decompressor<'static>,
    data: Vec<u8>,
    read: usize,
}

impl Unpacker {
    pub fn new() -> io::Result<Unpacker> {
        Ok(Unpacker { context: zstd::bulk::Decompressor::new()?, data: Vec::new(), read: 0 })
    }

    /// Takes the body of a packed frame in the place of what was there.
    pub fn unpack(&mut self, body: &[u8]) -> Result<(), WireError> {
        let malformed = |what: String| Err(WireError::Malformed(format!("a packed frame {what}")));
        let Some((length, packed)) = body.split_first_chunk::<PREFIX>() else {
            return malformed(format!("of {} bytes", body.len()));
        };
        let length = u32::from_le_bytes(*length) as usize;
        if length == 0 || length > DATA_LIMIT {
            return malformed(format!("that holds {length} bytes; 1 to {DATA_LIMIT} are allowed"));
        }
        self.read = 0;
        self.data.resize(length, 0);
        match self.context.decompress_to_buffer(packed, &mut self.data[..]) {
            Ok(unpacked) if unpacked == length => Ok(()),
            Ok(unpacked) => malformed(format!("that says {length} bytes and holds {unpacked}")),
            Err(error) => malformed(format!("that can't be unpacked: {error}")),
        }
    }

    /// How much is left of the frame.
    pub fn left(&self) -> usize {
        self.data.len() - self.read
    }

    /// Takes the next bytes.
    pub fn take(&mut self, buffer: &mut [u8]) -> usize {
        let count = buffer.len().min(self.left());
        buffer[..count].copy_from_slice(&self.data[self.read..][..count]);
        self.read += count;
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(data: &[u8]) -> Vec<u8> {
        Packer::new().unwrap().pack(data).unwrap().to_vec()
    }

    #[test]
    fn what_was_packed_comes_back_in_pieces() {
        let data = b"a page of a table, ".repeat(1000);
        let mut unpacker = Unpacker::new().unwrap();
        unpacker.unpack(&packed(&data)).unwrap();
        let mut piece = [0; 999];
        let mut back = Vec::new();
        while unpacker.left() > 0 {
            let count = unpacker.take(&mut piece);
            back.extend_from_slice(&piece[..count]);
        }
        assert_eq!(back, data);
    }

    #[test]
    fn what_gets_no_shorter_is_not_packed() {
        let noise: Vec<u8> =
            (0..64u64).flat_map(|n| xxhash_rust::xxh3::xxh3_64(&n.to_le_bytes()).to_le_bytes()).collect();
        assert!(Packer::new().unwrap().pack(&noise).is_none());
        assert!(Packer::new().unwrap().pack(b"x").is_none());
    }

    #[test]
    fn lengths_that_lie_are_refused_before_memory_is_taken() {
        let good = packed(&[7; 5000]);
        let mut unpacker = Unpacker::new().unwrap();
        for length in [0, 4999, 5001, DATA_LIMIT as u32 + 1, u32::MAX] {
            let lying = [&length.to_le_bytes(), &good[PREFIX..]].concat();
            assert!(matches!(unpacker.unpack(&lying), Err(WireError::Malformed(_))), "{length}");
        }
        for cut in 0..good.len() {
            assert!(matches!(unpacker.unpack(&good[..cut]), Err(WireError::Malformed(_))), "{cut}");
        }
        assert!(unpacker.data.capacity() <= 2 * DATA_LIMIT);
        unpacker.unpack(&good).unwrap();
    }
}

//! A member while it is unpacked: its file, and where it is compressed what decompresses it.

use std::io::Read;

use super::compressed::{Compression, Decoder, Memory};
use super::path::MemberPath;
use super::sink::{Open, Sink, SinkFile, read_some};
use super::{UnpackError, malformed};

/// An open member.
pub struct Member {
    path: MemberPath,
    file: SinkFile,
    compressed: Option<Compressed>,
}

/// What a compressed member has beside the file that is made of it.
struct Compressed {
    compression: Compression,
    decoder: Decoder,
    /// Where the next byte goes in what the stream holds.
    position: u64,
}

impl Member {
    /// Makes the file that a member becomes.
    pub fn create(
        sink: &Sink,
        path: &MemberPath,
        compression: Option<Compression>,
        how: Open,
        memory: &Memory,
    ) -> Result<Member, UnpackError> {
        let compressed = match compression {
            Some(compression) => {
                Some(Compressed { compression, decoder: Decoder::new(compression, memory)?, position: 0 })
            }
            None => None,
        };
        Ok(Member { path: path.clone(), file: sink.create(path, how)?, compressed })
    }

    /// All chunks of a member have its name with the same suffix.
    pub fn check_compression(&self, compression: Option<Compression>) -> Result<(), UnpackError> {
        if self.compressed.as_ref().map(|compressed| compressed.compression) == compression {
            return Ok(());
        }
        malformed(format!("{} comes twice, compressed in different ways", self.path))
    }

    /// Where the next byte goes, in what the stream holds of it.
    pub fn position(&self) -> u64 {
        match &self.compressed {
            Some(compressed) => compressed.position,
            None => self.file.position(),
        }
    }

    /// Takes up to `limit` bytes from `input`, by way of `buffer` where they are compressed. Returns them for a look
    /// at them, none at the input's end.
    pub fn fill_from<'a>(
        &'a mut self,
        input: &mut impl Read,
        limit: u64,
        buffer: &'a mut [u8],
    ) -> Result<&'a [u8], UnpackError> {
        let Some(compressed) = &mut self.compressed else { return self.file.fill_from(input, limit) };
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX).min(buffer.len());
        let length = read_some(input, &mut buffer[..wanted]).map_err(UnpackError::Input)?;
        let data = &buffer[..length];
        let file = &mut self.file;
        let fed = compressed.decoder.feed(data, &mut |plain| file.write(plain));
        fed.map_err(|error| error.in_member(&self.path))?;
        compressed.position += length as u64;
        Ok(data)
    }

    /// Passes a full buffer on: what comes next may be of other members, which need it.
    pub fn pause(&mut self) -> Result<(), UnpackError> {
        self.file.pass_on_if_full()
    }

    /// The file, where the stream holds it as it is: no tool seeks or leaves holes in a compressed member.
    pub fn plain(&mut self) -> Result<&mut SinkFile, UnpackError> {
        match &self.compressed {
            None => Ok(&mut self.file),
            Some(Compressed { compression, .. }) => {
                malformed(format!("a seek or a hole in {}, which is compressed with {compression}", self.path))
            }
        }
    }

    /// Nothing more comes.
    pub fn finish(self) -> Result<(), UnpackError> {
        if let Some(compressed) = self.compressed {
            compressed.decoder.finish().map_err(|error| error.in_member(&self.path))?;
        }
        self.file.finish()
    }
}

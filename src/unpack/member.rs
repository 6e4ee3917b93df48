//! A member while it is unpacked: its file and, for a compressed member, its decoder.

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

/// State of a compressed member, beside its file.
struct Compressed {
    compression: Compression,
    decoder: Decoder,
    /// The offset of the next byte in the stream's compressed form.
    position: u64,
}

impl Member {
    /// Creates the member's file.
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

    /// All chunks of a member must have the same suffix.
    pub fn check_compression(&self, compression: Option<Compression>) -> Result<(), UnpackError> {
        if self.compressed.as_ref().map(|compressed| compressed.compression) == compression {
            return Ok(());
        }
        malformed(format!("{} comes twice, with different compression", self.path))
    }

    /// The offset of the next byte, in the form that the stream has.
    pub fn position(&self) -> u64 {
        match &self.compressed {
            Some(compressed) => compressed.position,
            None => self.file.position(),
        }
    }

    /// Takes up to `limit` bytes from `input`, through `buffer` if they are compressed. Returns them for a
    /// checksum, and none at the input's end.
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

    /// Passes a full buffer on, because the next bytes may belong to other members, which need it.
    pub fn pause(&mut self) -> Result<(), UnpackError> {
        self.file.pass_on_if_full()
    }

    /// The file of an uncompressed member. The tools use seeks and holes in such members only.
    pub fn plain(&mut self) -> Result<&mut SinkFile, UnpackError> {
        match &self.compressed {
            None => Ok(&mut self.file),
            Some(Compressed { compression, .. }) => {
                malformed(format!("a seek or a hole in {}, which is compressed with {compression}", self.path))
            }
        }
    }

    /// Ends the member.
    pub fn finish(self) -> Result<(), UnpackError> {
        if let Some(compressed) = self.compressed {
            compressed.decoder.finish().map_err(|error| error.in_member(&self.path))?;
        }
        self.file.finish()
    }
}

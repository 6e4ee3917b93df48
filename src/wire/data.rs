//! The backup stream inside its frames: a writer that is finished on purpose only, and a reader that believes
//! nothing before it has seen the end frame.

use std::io::{self, BufReader, Read, Write};

use super::digest::{Coverage, Tally};
use super::frame::{self, DATA_LIMIT, HEADER_LENGTH, Header, Kind, WireError};
use super::message::{End, Failed, Heartbeat};
use crate::unpack::Source;

/// What is read at once where little is asked for: frame headers, chunk heads, small files. Larger reads go past it,
/// straight to where the bytes are wanted.
const READ_AHEAD: usize = 8 << 10;

/// The donor's side. Dropping it says nothing, which the recipient takes for a broken stream.
pub struct DataWriter<W> {
    output: W,
    tally: Tally,
    /// A frame's header, and a body that is being gathered.
    frame: Vec<u8>,
}

impl<W: Write> DataWriter<W> {
    pub fn new(output: W) -> DataWriter<W> {
        DataWriter::covering(Coverage::Whole, output)
    }

    /// With a digest that may leave out what has a checksum of its own.
    pub fn covering(coverage: Coverage, output: W) -> DataWriter<W> {
        DataWriter { output, tally: Tally::new(coverage), frame: vec![0; HEADER_LENGTH] }
    }

    /// Bytes of the stream so far.
    pub fn bytes(&self) -> u64 {
        self.tally.bytes()
    }

    /// What the digest at the end covers.
    pub fn coverage(&self) -> Coverage {
        self.tally.coverage()
    }

    /// Where the frames go.
    pub fn output(&self) -> &W {
        &self.output
    }

    /// Gathers a piece of the stream for the next frame; `checksummed` where it has a checksum of its own. What
    /// doesn't fit any more is sent before.
    pub fn gather(&mut self, piece: &[u8], checksummed: bool) -> Result<(), WireError> {
        for part in piece.chunks(DATA_LIMIT) {
            if self.gathered() + part.len() > DATA_LIMIT {
                self.flush()?;
            }
            self.frame.extend_from_slice(part);
        }
        if checksummed {
            self.tally.add_checksummed(piece)
        } else {
            self.tally.add(piece)
        }
        Ok(())
    }

    /// Bytes that were gathered and not sent yet.
    pub fn gathered(&self) -> usize {
        self.frame.len() - HEADER_LENGTH
    }

    /// Sends what was gathered.
    pub fn flush(&mut self) -> Result<(), WireError> {
        if self.gathered() > 0 {
            self.send_with(0)?;
        }
        Ok(())
    }

    /// Sends what was gathered, and announces that `count` more bytes follow in the same frame, which the caller moves
    /// into the output himself, unseen. They have a checksum of their own. Frames have their limit: see
    /// [`DataWriter::room`].
    pub fn announce(&mut self, count: usize) -> Result<&mut W, WireError> {
        self.tally.add_unseen(count as u64);
        self.send_with(count)?;
        Ok(&mut self.output)
    }

    /// How many bytes the frame can take beside what was gathered.
    pub fn room(&self) -> usize {
        DATA_LIMIT - self.gathered()
    }

    fn send_with(&mut self, unseen: usize) -> Result<(), WireError> {
        let length = self.gathered() + unseen;
        self.frame[..HEADER_LENGTH].copy_from_slice(&frame::header_bytes(Kind::Data, length));
        let sent = self.output.write_all(&self.frame);
        self.frame.truncate(HEADER_LENGTH);
        sent.map_err(WireError::Io)
    }

    /// Reads once from `input`, and sends that in a frame. Returns the bytes passed on: 0 at the input's end. Errors of
    /// the input come back as they are, errors of the connection as [`WireError`].
    pub fn relay_once(&mut self, input: &mut impl Read) -> io::Result<Result<usize, WireError>> {
        if let Err(error) = self.flush() {
            return Ok(Err(error));
        }
        self.frame.resize(HEADER_LENGTH + DATA_LIMIT, 0);
        let read = loop {
            match input.read(&mut self.frame[HEADER_LENGTH..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        let count = *read.as_ref().unwrap_or(&0);
        self.frame.truncate(HEADER_LENGTH + count);
        read?;
        self.tally.add(&self.frame[HEADER_LENGTH..]);
        Ok(self.flush().map(|()| count))
    }

    /// Says that the donor is still there.
    pub fn heartbeat(&mut self) -> Result<(), WireError> {
        self.flush()?;
        let heartbeat = Heartbeat { bytes: self.bytes() };
        frame::write_control(&mut self.output, Kind::Heartbeat, &heartbeat).map(drop)
    }

    /// Says that all was sent and that the backup tool ended with success. Nothing else says so.
    pub fn end(mut self, position: Option<String>) -> Result<u64, WireError> {
        self.flush()?;
        let end = End { bytes: self.bytes(), digest: self.tally.digest(), tool_status: 0, position };
        frame::write_control(&mut self.output, Kind::End, &end)?;
        Ok(end.bytes)
    }

    /// Says that what was sent is worth nothing.
    pub fn failed(mut self, text: String) -> Result<(), WireError> {
        frame::write_control(&mut self.output, Kind::Failed, &Failed { text }).map(drop)
    }
}

/// The recipient's side: the stream's bytes as a [`Read`] whose end is reported only once the end frame was checked
/// against what arrived. Every other end is an error.
pub struct DataReader<R> {
    input: BufReader<R>,
    tally: Tally,
    left_in_frame: usize,
    end: Option<End>,
}

impl<R: Read> DataReader<R> {
    pub fn new(input: R) -> DataReader<R> {
        DataReader::covering(Coverage::Whole, input)
    }

    /// With a digest that may leave out what has a checksum of its own.
    pub fn covering(coverage: Coverage, input: R) -> DataReader<R> {
        let input = BufReader::with_capacity(READ_AHEAD, input);
        DataReader { input, tally: Tally::new(coverage), left_in_frame: 0, end: None }
    }

    /// Bytes of the stream received so far.
    pub fn bytes(&self) -> u64 {
        self.tally.bytes()
    }

    /// The checked end of the stream. Reads on to it where the unpacker has stopped early; what else comes is refused.
    pub fn finish(&mut self) -> Result<End, WireError> {
        let mut rest = [0; 4096];
        match self.read_data(&mut rest, false)? {
            0 => self.end.clone().ok_or(WireError::Ended("before the end of the backup")),
            count => Err(WireError::Malformed(format!("{count} bytes or more behind the backup's end"))),
        }
    }

    fn read_data(&mut self, buffer: &mut [u8], checksummed: bool) -> Result<usize, WireError> {
        while self.left_in_frame == 0 {
            if self.end.is_some() || buffer.is_empty() {
                return Ok(0);
            }
            self.next_frame()?;
        }
        let wanted = buffer.len().min(self.left_in_frame);
        let count = loop {
            match self.input.read(&mut buffer[..wanted]) {
                Ok(0) => return Err(WireError::Ended("in the middle of the backup")),
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(WireError::Io(error)),
            }
        };
        let read = &buffer[..count];
        if checksummed {
            self.tally.add_checksummed(read)
        } else {
            self.tally.add(read)
        }
        self.left_in_frame -= count;
        Ok(count)
    }

    fn next_frame(&mut self) -> Result<(), WireError> {
        let header = frame::read_header(&mut self.input)?;
        match header.kind {
            Kind::Data => self.left_in_frame = header.length,
            Kind::Heartbeat => {
                let _: Heartbeat = self.message(header)?;
            }
            Kind::Failed => {
                let failed: Failed = self.message(header)?;
                return Err(WireError::Malformed(format!("the donor gave up: {}", failed.text)));
            }
            Kind::End => {
                let end: End = self.message(header)?;
                self.check(&end)?;
                self.end = Some(end);
            }
            other => return Err(WireError::Malformed(format!("a {other:?} message in the middle of the backup"))),
        }
        Ok(())
    }

    fn message<T: serde::de::DeserializeOwned>(&mut self, header: Header) -> Result<T, WireError> {
        let body = frame::read_body(&mut self.input, header)?;
        frame::parse(header.kind, &body)
    }

    fn check(&self, end: &End) -> Result<(), WireError> {
        let wrong = |what| Err(WireError::Malformed(format!("the backup arrived damaged: {what}")));
        if end.bytes != self.tally.bytes() {
            return wrong(format!("{} bytes were sent, {} came", end.bytes, self.tally.bytes()));
        }
        if end.digest != self.tally.digest() {
            return wrong(format!("its digest is {}, not {}", self.tally.digest(), end.digest));
        }
        if end.tool_status != 0 {
            return wrong(format!("the backup tool ended with {}", end.tool_status));
        }
        Ok(())
    }
}

impl<R: Read> Read for DataReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_data(buffer, false).map_err(io::Error::other)
    }
}

impl<R: Read> Source for DataReader<R> {
    fn read_checksummed(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_data(buffer, true).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = DataWriter::new(&mut bytes);
        writer.heartbeat().unwrap();
        for mut piece in content.chunks(7) {
            writer.relay_once(&mut piece).unwrap().unwrap();
        }
        writer.end(None).unwrap();
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Vec<u8>, String> {
        let mut reader = DataReader::new(bytes);
        let mut content = Vec::new();
        reader.read_to_end(&mut content).map_err(|error| error.to_string())?;
        reader.finish().map_err(|error| error.to_string())?;
        Ok(content)
    }

    #[test]
    fn comes_whole_through_its_frames() {
        assert_eq!(read(&stream(b"a backup of some length")).unwrap(), b"a backup of some length");
        assert_eq!(read(&stream(b"")).unwrap(), b"");
    }

    #[test]
    fn every_cut_is_noticed() {
        let bytes = stream(b"a backup of some length");
        for length in 0..bytes.len() {
            let error = read(&bytes[..length]).unwrap_err();
            assert!(error.contains("hung up"), "cut at {length}: {error}");
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let content = b"a backup of some length";
        let bytes = stream(content);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                // A heartbeat's number, or a name of a member that may be missing, says nothing about the backup.
                assert!(read(&damaged).map_or(true, |read| read == content), "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn a_writer_that_is_dropped_has_not_ended_the_stream() {
        let mut bytes = Vec::new();
        let mut writer = DataWriter::new(&mut bytes);
        writer.relay_once(&mut &b"all of it"[..]).unwrap().unwrap();
        drop(writer);
        assert!(read(&bytes).unwrap_err().contains("hung up"));
    }

    #[test]
    fn a_donor_that_gives_up_says_why() {
        let mut bytes = Vec::new();
        let mut writer = DataWriter::new(&mut bytes);
        writer.relay_once(&mut &b"some"[..]).unwrap().unwrap();
        writer.failed("the server went away".into()).unwrap();
        assert!(read(&bytes).unwrap_err().contains("the server went away"));
    }

    #[test]
    fn data_after_the_end_of_what_was_unpacked_is_refused() {
        let bytes = stream(b"unpacked, and more");
        let mut reader = DataReader::new(bytes.as_slice());
        reader.read_exact(&mut [0; 8]).unwrap();
        assert!(matches!(reader.finish(), Err(WireError::Malformed(_))));
    }
}

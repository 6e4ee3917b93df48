//! Reads the backup stream on the recipient's side, and reports its end only after a checked end frame.

use std::io::{self, BufReader, Read, Write};

use crate::protocol::digest::{Coverage, Tally};
use crate::protocol::frame::{self, Header, Kind, WireError};
use crate::protocol::inventory::MOST_BYTES;
use crate::protocol::message::{End, Failed, Heartbeat, InventoryEnd};
use crate::protocol::packing::Unpacker;
use crate::unpack::Source;

/// The size of a read in bytes when less is asked for: frame headers, chunk heads, small files. Larger reads
/// bypass this buffer and go straight to their target. They ask for at most the length in the frame's header.
const READ_AHEAD: usize = 8 << 10;

/// The stream's bytes as a [`Read`]. It reports the end only after it has compared the end frame with the
/// received bytes. Every other end is an error.
pub struct DataReader<R> {
    input: BufReader<R>,
    tally: Tally,
    left_in_frame: usize,
    /// Unpacks frames, if packed ones are allowed.
    unpacker: Option<Unpacker>,
    /// Receives the inventory, if one was offered.
    inventory: Option<Collector>,
    end: Option<End>,
}

/// Takes an inventory's frames, up to the largest size of an inventory.
struct Collector {
    output: Box<dyn Write + Send>,
    tally: Tally,
}

impl Collector {
    fn take(&mut self, body: &[u8]) -> Result<(), WireError> {
        if self.tally.bytes() + body.len() as u64 > MOST_BYTES {
            return Err(WireError::Malformed(format!("an inventory of more than {MOST_BYTES} bytes")));
        }
        self.tally.add(body);
        self.output.write_all(body).map_err(WireError::Inventory)
    }
}

impl<R: Read> DataReader<R> {
    pub fn new(input: R) -> DataReader<R> {
        DataReader::covering(Coverage::Whole, input)
    }

    /// A reader whose digest may leave out data with a checksum of their own.
    pub fn covering(coverage: Coverage, input: R) -> DataReader<R> {
        let input = BufReader::with_capacity(READ_AHEAD, input);
        DataReader { input, tally: Tally::new(coverage), left_in_frame: 0, unpacker: None, inventory: None, end: None }
    }

    /// Accepts packed frames too. The recipient's hello must have allowed them.
    pub fn allow_packed(mut self) -> io::Result<DataReader<R>> {
        self.unpacker = Some(Unpacker::new()?);
        Ok(self)
    }

    /// Writes the offered inventory to `output`. From then on the end requires an inventory.
    pub fn collect_inventory(&mut self, output: impl Write + Send + 'static) {
        self.inventory = Some(Collector { output: Box::new(output), tally: Tally::default() });
    }

    /// Bytes of the stream received so far.
    pub fn bytes(&self) -> u64 {
        self.tally.bytes()
    }

    /// Reads on to the checked end of the stream, in case the unpacker stopped early. Refuses further data.
    pub fn finish(&mut self) -> Result<End, WireError> {
        let mut rest = [0; 4096];
        match self.read_data(&mut rest, false)? {
            0 => self.end.clone().ok_or(WireError::Ended("before the end of the backup")),
            count => Err(WireError::Malformed(format!("at least {count} bytes after the end of the backup"))),
        }
    }

    fn read_data(&mut self, buffer: &mut [u8], checksummed: bool) -> Result<usize, WireError> {
        while self.left_in_frame == 0 && self.left_unpacked() == 0 {
            if self.end.is_some() || buffer.is_empty() {
                return Ok(0);
            }
            self.next_frame()?;
        }
        let count = match &mut self.unpacker {
            Some(unpacker) if unpacker.left() > 0 => unpacker.take(buffer),
            _ => self.read_frame(buffer)?,
        };
        let read = &buffer[..count];
        if checksummed {
            self.tally.add_checksummed(read)
        } else {
            self.tally.add(read)
        }
        Ok(count)
    }

    fn left_unpacked(&self) -> usize {
        self.unpacker.as_ref().map_or(0, Unpacker::left)
    }

    fn read_frame(&mut self, buffer: &mut [u8]) -> Result<usize, WireError> {
        let wanted = buffer.len().min(self.left_in_frame);
        loop {
            match self.input.read(&mut buffer[..wanted]) {
                Ok(0) => return Err(WireError::Ended("in the middle of the backup")),
                Ok(count) => {
                    self.left_in_frame -= count;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(WireError::Io(error)),
            }
        }
    }

    fn next_frame(&mut self) -> Result<(), WireError> {
        let header = frame::read_header(&mut self.input)?;
        match header.kind {
            Kind::Data | Kind::Packed if self.has_inventory() => {
                return Err(WireError::Malformed("backup data after the inventory".into()));
            }
            Kind::Data => self.left_in_frame = header.length,
            Kind::Packed => self.unpack(header)?,
            Kind::Inventory => self.take_inventory(header.length)?,
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
                if let Some(inventory) = &mut self.inventory {
                    inventory.output.flush().map_err(WireError::Inventory)?;
                }
                self.end = Some(end);
            }
            other => return Err(WireError::Malformed(format!("an unexpected {other:?} message inside the backup"))),
        }
        Ok(())
    }

    /// In pieces, because the unpacker's buffers still take memory.
    fn take_inventory(&mut self, length: usize) -> Result<(), WireError> {
        let Some(inventory) = &mut self.inventory else {
            return Err(WireError::Malformed("an unexpected inventory".into()));
        };
        let (mut piece, mut left) = ([0; 4096], length);
        while left > 0 {
            let piece = &mut piece[..left.min(4096)];
            frame::read_exactly(&mut self.input, piece)?;
            inventory.take(piece)?;
            left -= piece.len();
        }
        Ok(())
    }

    /// Whether a part of it has arrived.
    fn has_inventory(&self) -> bool {
        self.inventory.as_ref().is_some_and(|inventory| inventory.tally.bytes() > 0)
    }

    fn unpack(&mut self, header: Header) -> Result<(), WireError> {
        let Some(unpacker) = &mut self.unpacker else {
            return Err(WireError::Malformed("an unexpected packed frame".into()));
        };
        let mut body = vec![0; header.length];
        frame::read_exactly(&mut self.input, &mut body)?;
        unpacker.unpack(&body)
    }

    fn message<T: serde::de::DeserializeOwned>(&mut self, header: Header) -> Result<T, WireError> {
        let body = frame::read_body(&mut self.input, header)?;
        frame::parse(header.kind, &body)
    }

    fn check(&self, end: &End) -> Result<(), WireError> {
        let wrong = |what| Err(WireError::Malformed(format!("the backup arrived damaged: {what}")));
        if end.bytes != self.tally.bytes() {
            return wrong(format!("{} bytes were sent, {} arrived", end.bytes, self.tally.bytes()));
        }
        if end.digest != self.tally.digest() {
            return wrong(format!("its digest is {} instead of {}", self.tally.digest(), end.digest));
        }
        if end.tool_status != 0 {
            return wrong(format!("the backup tool ended with {}", end.tool_status));
        }
        let came = self.inventory.as_ref().map(|inventory| &inventory.tally);
        let came = came.map(|tally| InventoryEnd { bytes: tally.bytes(), digest: tally.digest() });
        match (&end.inventory, &came) {
            (sent, came) if sent == came => {}
            (Some(_), None) => return wrong("it has an unexpected inventory".to_owned()),
            (None, _) => return wrong("its inventory is missing".to_owned()),
            (Some(_), Some(_)) => return wrong("its inventory differs from the one sent".to_owned()),
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

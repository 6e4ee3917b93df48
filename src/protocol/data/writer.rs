//! Writes the backup stream on the donor's side: frames, their digest, and an explicit end.

use std::io::{self, Read, Write};

use crate::protocol::digest::{Coverage, Tally};
use crate::protocol::frame::{self, CONTROL_LIMIT, DATA_LIMIT, HEADER_LENGTH, Kind, WireError};
use crate::protocol::message::{End, Failed, Heartbeat, InventoryEnd};
use crate::protocol::packing::Packer;

/// The donor's end of the stream. Dropping it sends no end frame, so the recipient sees a broken stream.
pub struct DataWriter<W> {
    output: W,
    tally: Tally,
    /// A buffer for a frame's header and its body. It keeps the largest size it ever had.
    frame: Vec<u8>,
    /// Bytes of a body in the buffer.
    gathered: usize,
    /// The longest body to gather.
    limit: usize,
    packer: Option<Packer>,
    is_packing: bool,
    sent: u64,
    /// The tally of the inventory, if one was sent.
    inventory: Option<Tally>,
}

impl<W: Write> DataWriter<W> {
    pub fn new(output: W) -> DataWriter<W> {
        DataWriter::covering(Coverage::Whole, output)
    }

    /// A writer whose digest may leave out data with a checksum of their own.
    pub fn covering(coverage: Coverage, output: W) -> DataWriter<W> {
        DataWriter {
            output,
            tally: Tally::new(coverage),
            frame: vec![0; HEADER_LENGTH],
            gathered: 0,
            limit: DATA_LIMIT,
            packer: None,
            is_packing: false,
            sent: 0,
            inventory: None,
        }
    }

    /// Turns packing of gathered data on or off, for a recipient that can unpack it.
    pub fn set_packing(&mut self, packing: bool) -> Result<(), WireError> {
        self.flush()?;
        if packing && self.packer.is_none() {
            self.packer = Some(Packer::new().map_err(WireError::Io)?);
        }
        self.is_packing = packing;
        Ok(())
    }

    /// Whether gathered data are packed.
    pub fn is_packing(&self) -> bool {
        self.is_packing
    }

    /// Limits frames to this many bytes of the stream.
    pub fn set_limit(&mut self, bytes: usize) {
        self.limit = bytes.clamp(1, DATA_LIMIT);
    }

    /// Bytes sent over the wire so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Bytes of the stream so far.
    pub fn bytes(&self) -> u64 {
        self.tally.bytes()
    }

    /// The part of the stream that the end's digest covers.
    pub fn coverage(&self) -> Coverage {
        self.tally.coverage()
    }

    /// The output of the frames.
    pub fn output(&self) -> &W {
        &self.output
    }

    /// Adds a piece of the stream to the next frame. `checksummed` means that it has a checksum of its own. Sends
    /// the gathered data first if the piece would exceed the frame.
    pub fn gather(&mut self, piece: &[u8], checksummed: bool) -> Result<(), WireError> {
        for part in piece.chunks(self.limit) {
            if self.gathered + part.len() > self.limit {
                self.flush()?;
            }
            self.room_for(part.len()).copy_from_slice(part);
            self.gathered += part.len();
        }
        if checksummed {
            self.tally.add_checksummed(piece)
        } else {
            self.tally.add(piece)
        }
        Ok(())
    }

    /// Gathered bytes that are still to be sent.
    pub fn gathered(&self) -> usize {
        self.gathered
    }

    /// A buffer of this length behind the gathered bytes.
    fn room_for(&mut self, length: usize) -> &mut [u8] {
        let from = HEADER_LENGTH + self.gathered;
        if self.frame.len() < from + length {
            self.frame.resize(from + length, 0);
        }
        &mut self.frame[from..from + length]
    }

    /// Sends the gathered data.
    pub fn flush(&mut self) -> Result<(), WireError> {
        if self.gathered > 0 {
            self.send_with(0)?;
        }
        Ok(())
    }

    /// Sends the gathered data in a frame that has room for `count` more bytes. The caller moves those into the
    /// output without reading them, so they must have a checksum of their own. Frames have a size limit: see
    /// [`DataWriter::room`].
    pub fn announce(&mut self, count: usize) -> Result<&mut W, WireError> {
        self.tally.add_unseen(count as u64);
        self.send_with(count)?;
        Ok(&mut self.output)
    }

    /// How many more bytes fit into the frame.
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.gathered)
    }

    fn send_with(&mut self, unseen: usize) -> Result<(), WireError> {
        if self.is_packing && unseen == 0 && self.send_packed()? {
            return Ok(());
        }
        let gathered = std::mem::take(&mut self.gathered);
        let length = gathered + unseen;
        self.frame[..HEADER_LENGTH].copy_from_slice(&frame::header_bytes(Kind::Data, length));
        let written = self.output.write_all(&self.frame[..HEADER_LENGTH + gathered]);
        self.sent += (HEADER_LENGTH + length) as u64;
        written.map_err(WireError::Io)
    }

    /// Sends the gathered data packed, if that is shorter.
    fn send_packed(&mut self) -> Result<bool, WireError> {
        let body = &self.frame[HEADER_LENGTH..][..self.gathered];
        let packed = self.packer.as_mut().and_then(|packer| packer.pack(body));
        let Some(body) = packed else { return Ok(false) };
        let header = frame::header_bytes(Kind::Packed, body.len());
        let written = self.output.write_all(&header).and_then(|()| self.output.write_all(body));
        self.sent += (HEADER_LENGTH + body.len()) as u64;
        self.gathered = 0;
        written.map(|()| true).map_err(WireError::Io)
    }

    /// Reads once from `input` and sends the bytes in a frame. Returns their number: 0 at the input's end. Input
    /// errors are returned unchanged, connection errors as [`WireError`].
    pub fn relay_once(&mut self, input: &mut impl Read) -> io::Result<Result<usize, WireError>> {
        if let Err(error) = self.flush() {
            return Ok(Err(error));
        }
        let room = self.room_for(self.limit);
        let count = loop {
            match input.read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        self.tally.add(&self.frame[HEADER_LENGTH..][..count]);
        self.gathered = count;
        Ok(self.flush().map(|()| count))
    }

    /// Tells the recipient that the donor is alive.
    pub fn heartbeat(&mut self) -> Result<(), WireError> {
        self.flush()?;
        let heartbeat = Heartbeat { bytes: self.bytes() };
        frame::write_control(&mut self.output, Kind::Heartbeat, &heartbeat).map(drop)
    }

    /// Sends an inventory after the whole stream.
    pub fn send_inventory(&mut self, inventory: &[u8]) -> Result<(), WireError> {
        self.flush()?;
        let tally = self.inventory.get_or_insert_default();
        for body in inventory.chunks(CONTROL_LIMIT) {
            let header = frame::header_bytes(Kind::Inventory, body.len());
            self.output.write_all(&header).and_then(|()| self.output.write_all(body)).map_err(WireError::Io)?;
            tally.add(body);
            self.sent += (HEADER_LENGTH + body.len()) as u64;
        }
        Ok(())
    }

    /// Sends the end frame: the stream is complete and the backup tool succeeded. It is the only mark of success.
    pub fn end(mut self, position: Option<String>) -> Result<u64, WireError> {
        self.flush()?;
        let inventory =
            self.inventory.as_ref().map(|tally| InventoryEnd { bytes: tally.bytes(), digest: tally.digest() });
        let end = End { bytes: self.bytes(), digest: self.tally.digest(), tool_status: 0, position, inventory };
        frame::write_control(&mut self.output, Kind::End, &end)?;
        Ok(end.bytes)
    }

    /// Tells the recipient that the stream is worthless.
    pub fn failed(mut self, text: String) -> Result<(), WireError> {
        frame::write_control(&mut self.output, Kind::Failed, &Failed { text }).map(drop)
    }
}

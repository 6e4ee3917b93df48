//! The donor's side: frames, their digest, and an end that is said on purpose only.

use std::io::{self, Read, Write};

use crate::protocol::digest::{Coverage, Tally};
use crate::protocol::frame::{self, CONTROL_LIMIT, DATA_LIMIT, HEADER_LENGTH, Kind, WireError};
use crate::protocol::message::{End, Failed, Heartbeat, InventoryEnd};
use crate::protocol::packing::Packer;

/// The donor's side. Dropping it says nothing, which the recipient takes for a broken stream.
pub struct DataWriter<W> {
    output: W,
    tally: Tally,
    /// Room for a frame's header and its body, made as long as was ever needed.
    frame: Vec<u8>,
    /// Bytes of a body that are in it.
    gathered: usize,
    /// The longest body that is gathered.
    limit: usize,
    packer: Option<Packer>,
    is_packing: bool,
    sent: u64,
    /// Of the inventory, where one was sent.
    inventory: Option<Tally>,
}

impl<W: Write> DataWriter<W> {
    pub fn new(output: W) -> DataWriter<W> {
        DataWriter::covering(Coverage::Whole, output)
    }

    /// With a digest that may leave out what has a checksum of its own.
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

    /// Packs what is gathered from now on, or doesn't; for a recipient that said that it can unpack.
    pub fn set_packing(&mut self, packing: bool) -> Result<(), WireError> {
        self.flush()?;
        if packing && self.packer.is_none() {
            self.packer = Some(Packer::new().map_err(WireError::Io)?);
        }
        self.is_packing = packing;
        Ok(())
    }

    /// Whether what is gathered is packed.
    pub fn is_packing(&self) -> bool {
        self.is_packing
    }

    /// Sends frames of at most so many bytes of the stream.
    pub fn set_limit(&mut self, bytes: usize) {
        self.limit = bytes.clamp(1, DATA_LIMIT);
    }

    /// Bytes that went over the wire so far.
    pub fn sent(&self) -> u64 {
        self.sent
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

    /// Bytes that were gathered and not sent yet.
    pub fn gathered(&self) -> usize {
        self.gathered
    }

    /// So many bytes behind those that were gathered.
    fn room_for(&mut self, length: usize) -> &mut [u8] {
        let from = HEADER_LENGTH + self.gathered;
        if self.frame.len() < from + length {
            self.frame.resize(from + length, 0);
        }
        &mut self.frame[from..from + length]
    }

    /// Sends what was gathered.
    pub fn flush(&mut self) -> Result<(), WireError> {
        if self.gathered > 0 {
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

    /// Sends what was gathered packed, unless that would be longer.
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

    /// Reads once from `input`, and sends that in a frame. Returns the bytes passed on: 0 at the input's end. Errors of
    /// the input come back as they are, errors of the connection as [`WireError`].
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

    /// Says that the donor is still there.
    pub fn heartbeat(&mut self) -> Result<(), WireError> {
        self.flush()?;
        let heartbeat = Heartbeat { bytes: self.bytes() };
        frame::write_control(&mut self.output, Kind::Heartbeat, &heartbeat).map(drop)
    }

    /// Sends an inventory, behind the whole stream.
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

    /// Says that all was sent and that the backup tool ended with success. Nothing else says so.
    pub fn end(mut self, position: Option<String>) -> Result<u64, WireError> {
        self.flush()?;
        let inventory =
            self.inventory.as_ref().map(|tally| InventoryEnd { bytes: tally.bytes(), digest: tally.digest() });
        let end = End { bytes: self.bytes(), digest: self.tally.digest(), tool_status: 0, position, inventory };
        frame::write_control(&mut self.output, Kind::End, &end)?;
        Ok(end.bytes)
    }

    /// Says that what was sent is worth nothing.
    pub fn failed(mut self, text: String) -> Result<(), WireError> {
        frame::write_control(&mut self.output, Kind::Failed, &Failed { text }).map(drop)
    }
}

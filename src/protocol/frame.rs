//! Reads and writes frames: a kind, a bounded length, a body.

use std::io::{ErrorKind, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::text::in_one_line;

/// Length of a frame's header in bytes.
pub const HEADER_LENGTH: usize = 8;

/// Longest body of a data frame in bytes.
pub const DATA_LIMIT: usize = 1 << 20;

/// Longest body of any other frame in bytes.
pub const CONTROL_LIMIT: usize = 64 << 10;

/// The kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Hello = b'H',
    Challenge = b'C',
    Proof = b'P',
    Offer = b'O',
    PluginOffer = b'Q',
    Copied = b'K',
    Refusal = b'R',
    Report = b'A',
    Data = b'D',
    Packed = b'Z',
    Inventory = b'I',
    Heartbeat = b'B',
    End = b'E',
    Failed = b'F',
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Kind> {
        use Kind::*;
        let all = [
            Hello,
            Challenge,
            Proof,
            Offer,
            PluginOffer,
            Copied,
            Refusal,
            Report,
            Data,
            Packed,
            Inventory,
            Heartbeat,
            End,
            Failed,
        ];
        all.into_iter().find(|kind| *kind as u8 == byte)
    }

    /// Whether it carries a part of the backup stream.
    fn is_data(self) -> bool {
        matches!(self, Kind::Data | Kind::Packed)
    }

    fn limit(self) -> usize {
        if self.is_data() { DATA_LIMIT } else { CONTROL_LIMIT }
    }
}

/// Why a connection failed.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The connection broke, or the peer was silent for too long.
    #[error("{}", broken(.0))]
    Io(std::io::Error),
    /// The peer hung up at this place.
    #[error("the peer hung up {0}")]
    Ended(&'static str),
    /// The peer violated the protocol.
    #[error("{0}")]
    Malformed(String),
    /// The peer sends a legacy stream at once, as the tutorial's `ncat` does.
    #[error("the peer is not mysqlset: it sends a legacy stream")]
    Legacy,
    /// Writing the inventory failed on this side.
    #[error("cannot write the inventory: {0}")]
    Inventory(std::io::Error),
}

fn broken(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "the peer was silent for too long".to_owned(),
        _ => format!("the connection broke: {error}"),
    }
}

/// A frame's kind and the length of its body, within that kind's limit.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    pub kind: Kind,
    pub length: usize,
}

/// The eight bytes before a body.
pub fn header_bytes(kind: Kind, length: usize) -> [u8; HEADER_LENGTH] {
    // All callers bound bodies far below 4 GiB.
    let [a, b, c, d] = (length as u32).to_le_bytes();
    [kind as u8, 0, 0, 0, a, b, c, d]
}

/// Reads one header.
pub fn read_header(input: &mut impl Read) -> Result<Header, WireError> {
    let mut bytes = [0; HEADER_LENGTH];
    read_exactly(input, &mut bytes)?;
    let [kind, zero @ .., a, b, c, d] = bytes;
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    let Some(kind) = Kind::from_byte(kind) else {
        return Err(WireError::Malformed(format!("unknown frame kind 0x{kind:02x}")));
    };
    if zero != [0; 3] {
        return Err(WireError::Malformed(format!("a {kind:?} frame has a damaged header")));
    }
    if length > kind.limit() || length == 0 {
        return Err(WireError::Malformed(format!(
            "a {kind:?} frame has {length} bytes; 1 to {} are allowed",
            kind.limit()
        )));
    }
    Ok(Header { kind, length })
}

/// Reads the body of a control frame.
pub fn read_body(input: &mut impl Read, header: Header) -> Result<Vec<u8>, WireError> {
    if header.kind.is_data() {
        return Err(WireError::Malformed("unexpected data".into()));
    }
    let mut body = vec![0; header.length];
    read_exactly(input, &mut body)?;
    Ok(body)
}

/// A received control frame.
#[derive(Debug)]
pub struct Frame {
    pub kind: Kind,
    pub body: Vec<u8>,
}

impl Frame {
    /// Reads one.
    pub fn read(input: &mut impl Read) -> Result<Frame, WireError> {
        let header = read_header(input)?;
        let body = read_body(input, header)?;
        Ok(Frame { kind: header.kind, body })
    }

    /// The message in it.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, WireError> {
        parse(self.kind, &self.body)
    }
}

/// Encodes a control frame.
pub fn encode(kind: Kind, message: &impl Serialize) -> Result<Vec<u8>, WireError> {
    let body = serde_json::to_vec(message).map_err(|error| WireError::Malformed(error.to_string()))?;
    if body.len() > CONTROL_LIMIT {
        return Err(WireError::Malformed(format!("a {kind:?} message of {} bytes is too long to send", body.len())));
    }
    let mut frame = header_bytes(kind, body.len()).to_vec();
    frame.extend(body);
    Ok(frame)
}

/// Writes a control frame at once, and returns the bytes sent.
pub fn write_control(output: &mut impl Write, kind: Kind, message: &impl Serialize) -> Result<Vec<u8>, WireError> {
    let frame = encode(kind, message)?;
    output.write_all(&frame).map_err(WireError::Io)?;
    Ok(frame)
}

/// Parses a control frame's body.
pub fn parse<T: DeserializeOwned>(kind: Kind, body: &[u8]) -> Result<T, WireError> {
    serde_json::from_slice(body)
        // The error quotes text of the peer.
        .map_err(|error| {
            WireError::Malformed(format!("a {kind:?} message that makes no sense: {}", in_one_line(&error.to_string())))
        })
}

/// Fills a buffer. An end before the first byte and one in between give different errors.
pub fn read_exactly(input: &mut impl Read, buffer: &mut [u8]) -> Result<(), WireError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) if filled == 0 => return Err(WireError::Ended("before it was done")),
            Ok(0) => return Err(WireError::Ended("in the middle of a message")),
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(WireError::Io(error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_checked_before_memory_is_allocated() {
        for (kind, length) in [(b'D', DATA_LIMIT + 1), (b'H', CONTROL_LIMIT + 1), (b'D', 0), (b'D', u32::MAX as usize)]
        {
            let mut bytes = header_bytes(Kind::Data, length);
            bytes[0] = kind;
            assert!(matches!(read_header(&mut &bytes[..]), Err(WireError::Malformed(_))), "{kind} {length}");
        }
    }

    #[test]
    fn unknown_kinds_and_damaged_headers_are_refused() {
        for (at, value) in [(0, b'X'), (0, 0), (1, 1), (3, 255)] {
            let mut bytes = header_bytes(Kind::Hello, 2);
            bytes[at] = value;
            assert!(matches!(read_header(&mut &bytes[..]), Err(WireError::Malformed(_))));
        }
    }

    #[test]
    fn an_end_inside_a_header_differs_from_one_before_it() {
        let bytes = header_bytes(Kind::Hello, 10);
        assert!(matches!(read_header(&mut &bytes[..0]), Err(WireError::Ended("before it was done"))));
        for cut in 1..bytes.len() {
            assert!(matches!(read_header(&mut &bytes[..cut]), Err(WireError::Ended("in the middle of a message"))));
        }
    }
}

//! An admitted recipient, and the answers to it.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::context::Slot;
use super::survey::Survey;
use crate::protocol::frame::{Kind, WireError};
use crate::protocol::handshake::donor::Said;
use crate::protocol::message::{Hello, Refusal};
use crate::sys::deadline::DeadlineReader;

/// Time in which a peer must read the last message.
pub(super) const READING_LIMIT: Duration = Duration::from_secs(1);

/// An admitted recipient and the donor slot that it holds.
pub struct Admitted {
    pub stream: TcpStream,
    pub hello: Hello,
    pub said: Said,
    pub slot: Slot,
    pub survey: Survey,
}

/// Sends a refusal from a thread that may block.
pub fn refuse(stream: &TcpStream, said: Said, refusal: &Refusal) {
    if answer(stream, said, Kind::Refusal, refusal).is_ok() {
        let_it_read(stream);
    }
}

/// Sends an admitted peer its answer. If there is a secret, adds the donor's own proof.
pub fn answer(mut stream: &TcpStream, said: Said, kind: Kind, message: &impl Serialize) -> Result<(), WireError> {
    stream.write_all(&said.answer(kind, message)?).map_err(WireError::Io)
}

/// Closes the donor's side, and gives the peer a moment to read the last bytes.
pub fn let_it_read(stream: &TcpStream) {
    if stream.shutdown(Shutdown::Write).is_ok() {
        let mut reader = DeadlineReader::new(stream, Instant::now() + READING_LIMIT);
        let _ = std::io::copy(&mut reader, &mut std::io::sink());
    }
}

//! An admitted recipient, and the transcript of its handshake under the proofs.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::context::Slot;
use super::survey::Survey;
use crate::protocol::auth::{Side, Transcript};
use crate::protocol::frame::{self, Kind, WireError};
use crate::protocol::message::{Hello, Proof, Refusal};
use crate::sys::deadline::DeadlineReader;
use crate::sys::secret::Secret;

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

/// The transcript of a completed handshake, and the secret that the peer proved, if one is set.
pub struct Said {
    transcript: Transcript,
    pub(super) secret: Option<Secret>,
}

impl Said {
    pub fn new(transcript: Transcript, secret: Option<Secret>) -> Said {
        Said { transcript, secret }
    }

    /// Encodes a message. If there is a secret, adds the donor's own proof.
    pub(super) fn proven(mut self, kind: Kind, message: &impl Serialize) -> Result<Vec<u8>, WireError> {
        let mut bytes = frame::write_control(&mut Vec::new(), kind, message)?;
        self.transcript.add(&bytes);
        if let Some(secret) = &self.secret {
            let proof = Proof { hmac: self.transcript.prove(secret, Side::Donor) };
            bytes.extend(frame::write_control(&mut Vec::new(), Kind::Proof, &proof)?);
        }
        Ok(bytes)
    }
}

/// Sends a refusal from a thread that may block.
pub fn refuse(stream: &TcpStream, said: Said, refusal: &Refusal) {
    if answer(stream, said, Kind::Refusal, refusal).is_ok() {
        let_it_read(stream);
    }
}

/// Sends an admitted peer its answer. If there is a secret, adds the donor's own proof.
pub fn answer(mut stream: &TcpStream, said: Said, kind: Kind, message: &impl Serialize) -> Result<(), WireError> {
    stream.write_all(&said.proven(kind, message)?).map_err(WireError::Io)
}

/// Closes the donor's side, and gives the peer a moment to read the last bytes.
pub fn let_it_read(stream: &TcpStream) {
    if stream.shutdown(Shutdown::Write).is_ok() {
        let mut reader = DeadlineReader::new(stream, Instant::now() + READING_LIMIT);
        let _ = std::io::copy(&mut reader, &mut std::io::sink());
    }
}

//! A recipient that may have a clone, and what was said to it and by it, under the proofs.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::context::Turn;
use super::preflight::Survey;
use crate::protocol::auth::{Side, Transcript};
use crate::protocol::frame::{self, Kind, WireError};
use crate::protocol::message::{Hello, Proof, Refusal};
use crate::sys::deadline::DeadlineReader;
use crate::sys::secret::Secret;

/// A peer reads what was sent last in this time.
pub(super) const READING_LIMIT: Duration = Duration::from_secs(1);

/// A recipient that may have a clone, and the turn that it holds.
pub struct Admitted {
    pub stream: TcpStream,
    pub hello: Hello,
    pub said: Said,
    pub turn: Turn,
    pub survey: Survey,
}

/// What was said in a handshake whose peer has proven itself, and the secret that it proved to know, where one is set.
pub struct Said {
    transcript: Transcript,
    pub(super) secret: Option<Secret>,
}

impl Said {
    pub fn new(transcript: Transcript, secret: Option<Secret>) -> Said {
        Said { transcript, secret }
    }

    /// A message with, where there is a secret, the proof that we know it too.
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

/// A refusal by a thread that may wait.
pub fn refuse(stream: &TcpStream, said: Said, refusal: &Refusal) {
    if answer(stream, said, Kind::Refusal, refusal).is_ok() {
        let_it_read(stream);
    }
}

/// Gives an admitted peer what it asked for, with the proof that we know the secret too, where there is one.
pub fn answer(mut stream: &TcpStream, said: Said, kind: Kind, message: &impl Serialize) -> Result<(), WireError> {
    stream.write_all(&said.proven(kind, message)?).map_err(WireError::Io)
}

/// Ends our side, and gives the peer a moment to read what was sent.
pub fn let_it_read(stream: &TcpStream) {
    if stream.shutdown(Shutdown::Write).is_ok() {
        let mut reader = DeadlineReader::new(stream, Instant::now() + READING_LIMIT);
        let _ = std::io::copy(&mut reader, &mut std::io::sink());
    }
}

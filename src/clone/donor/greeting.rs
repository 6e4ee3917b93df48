//! Reads a peer's greeting, from its preface to its proof. The protocol's half is
//! [`crate::protocol::handshake::donor`].
//!
//! Greetings share one thread, because any number of strangers may connect.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::context::Donor;
use crate::model::event::Event;
use crate::protocol::auth;
use crate::protocol::clone_secret::CloneSecret;
use crate::protocol::frame::{self, Frame, HEADER_LENGTH, Kind, WireError};
use crate::protocol::handshake::donor::{AwaitsHello, Said, Step, Unchallenged};
use crate::protocol::handshake::require;
use crate::protocol::message::{Hello, Refusal, Wants, Why};
use crate::protocol::preface;

/// Limit for each of the two parts of a greeting, however slowly the bytes arrive.
const LIMIT: Duration = Duration::from_secs(5);

/// A mysqlset speaks as soon as it is connected. A peer that stays silent this long is a legacy recipient.
const SILENCE: Duration = Duration::from_secs(3);

/// A handshake that ended before a clone.
pub enum Ended {
    /// The donor refuses and gives the reason.
    Refused(Refusal),
    /// The peer broke the protocol.
    Broken(WireError),
}

impl From<WireError> for Ended {
    fn from(error: WireError) -> Ended {
        Ended::Broken(error)
    }
}

pub(in crate::clone) fn refused(event: Event, why: Why, text: &str) -> Ended {
    Ended::Refused(Refusal::new(event, why, text))
}

/// Reads a peer's request and verifies its proof if there is a clone secret. A peer with a wrong secret is answered
/// later each time.
///
/// Returns `None` for a silent peer, if silent peers may have the data. The tutorial's recipients are silent.
pub async fn greet(donor: &Donor, stream: &mut TcpStream, peer: IpAddr) -> Result<Option<(Hello, Said)>, Ended> {
    if donor.settings.donate_unproven_stream && timeout(SILENCE, stream.peek(&mut [0])).await.is_err() {
        return Ok(None);
    }
    let silent = |_| Ended::Broken(WireError::Io(ErrorKind::TimedOut.into()));
    let (hello, unchallenged) = timeout(LIMIT, hear_hello(stream)).await.map_err(silent)??;
    let said = timeout(LIMIT, prove(donor, &hello, stream, unchallenged)).await.map_err(silent)?;
    if let Err(Ended::Refused(refusal)) = &said
        && refusal.event == Event::RefusedUnauthorised.name()
    {
        sleep(donor.guesses.pause_after_another(peer)).await;
    }
    Ok(Some((hello, said?)))
}

async fn hear_hello(stream: &mut TcpStream) -> Result<(Hello, Unchallenged), Ended> {
    let mut bytes = [0; preface::LENGTH];
    stream.read_exact(&mut bytes).await.map_err(broken)?;
    let theirs = preface::receive(&mut &bytes[..])?;
    send(stream, &preface::OWN.bytes()).await?;
    let awaits_hello = AwaitsHello::after(theirs)?;
    Ok(awaits_hello.hello(&hear(stream, Kind::Hello).await?)?)
}

/// Challenges the recipient if there is a secret, and verifies its proof.
///
/// If there is none and anonymous clones are off, only report requests pass.
async fn prove(
    donor: &Donor,
    hello: &Hello,
    stream: &mut TcpStream,
    unchallenged: Unchallenged,
) -> Result<Said, Ended> {
    let keys = donor.settings.peering.secret.as_ref().map(CloneSecret::now);
    if keys.is_none() && !donor.settings.donate_to_anyone && hello.wants != Wants::Report {
        return Err(refused(
            Event::RefusedNoSecret,
            Why::Unauthorised,
            "this donor has no clone secret and anonymous clones are off: set a clone secret on all pods",
        ));
    }
    let nonce = auth::nonce().map_err(|error| WireError::Malformed(error.to_string()))?;
    let (step, challenge) = unchallenged.challenge(nonce, keys)?;
    send(stream, &challenge).await?;
    let awaits_proof = match step {
        Step::Done(said) => return Ok(said),
        Step::AwaitsProof(awaits_proof) => awaits_proof,
    };
    let wrong = || {
        refused(Event::RefusedUnauthorised, Why::Unauthorised, "the recipient's clone secret differs from this donor's")
    };
    awaits_proof.proof(&hear(stream, Kind::Proof).await?)?.ok_or_else(wrong)
}

async fn send(stream: &mut TcpStream, bytes: &[u8]) -> Result<(), WireError> {
    stream.write_all(bytes).await.map_err(WireError::Io)
}

/// Receives one message of this kind. Memory grows only as the bytes arrive.
async fn hear(stream: &mut TcpStream, kind: Kind) -> Result<Frame, WireError> {
    let mut bytes = [0; HEADER_LENGTH];
    stream.read_exact(&mut bytes).await.map_err(broken)?;
    let header = frame::read_header(&mut &bytes[..])?;
    require(header.kind, &[kind])?;
    let mut body = Vec::new();
    stream.take(header.length as u64).read_to_end(&mut body).await.map_err(broken)?;
    if body.len() < header.length {
        return Err(WireError::Ended("in the middle of a message"));
    }
    Ok(Frame { kind, body })
}

fn broken(error: std::io::Error) -> WireError {
    match error.kind() {
        ErrorKind::UnexpectedEof => WireError::Ended("before it was done"),
        _ => WireError::Io(error),
    }
}

//! A peer's first words, from its preface to its proof.
//!
//! They cost no thread: whoever has proven nothing may be a stranger, and come in any number.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::admitted::Said;
use super::context::Donor;
use crate::model::event::Event;
use crate::protocol::auth::{self, Side, Transcript};
use crate::protocol::clone_secret::CloneSecret;
use crate::protocol::frame::{self, HEADER_LENGTH, Kind, WireError};
use crate::protocol::message::{Challenge, Hello, Proof, Refusal, Wants, Why};
use crate::protocol::preface::{self, Versions};
use crate::sys::secret::Secret;

/// For all that a peer says until it is proven, however it spreads its bytes.
const LIMIT: Duration = Duration::from_secs(5);

/// A mysqlset speaks as soon as it is connected; who has said nothing for so long never will.
const SILENCE: Duration = Duration::from_secs(3);

/// How a handshake ends without a clone.
pub enum Ended {
    /// We say no, and why.
    Refused(Refusal),
    /// The peer can't be talked with.
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

/// Hears a peer out: what it wants, and that it knows the secret where there is one. Who does not know it hears so ever later.
/// `None` of a peer that says nothing where such a one may have the data, as a recipient of the tutorial's.
pub async fn greet(donor: &Donor, stream: &mut TcpStream, peer: IpAddr) -> Result<Option<(Hello, Said)>, Ended> {
    if donor.settings.donate_unproven_stream && timeout(SILENCE, stream.peek(&mut [0])).await.is_err() {
        return Ok(None);
    }
    let silent = |_| Ended::Broken(WireError::Io(ErrorKind::TimedOut.into()));
    let (hello, mut transcript) = timeout(LIMIT, hear_hello(stream)).await.map_err(silent)??;
    let secret = timeout(LIMIT, prove(donor, &hello, stream, &mut transcript)).await.map_err(silent)?;
    if let Err(Ended::Refused(refusal)) = &secret
        && refusal.event == Event::RefusedUnauthorised.name()
    {
        sleep(donor.guesses.pause_after_another(peer)).await;
    }
    Ok(Some((hello, Said::new(transcript, secret?))))
}

async fn hear_hello(stream: &mut TcpStream) -> Result<(Hello, Transcript), Ended> {
    let mut bytes = [0; preface::LENGTH];
    let theirs: Versions = match stream.read_exact(&mut bytes).await {
        Ok(_) => preface::receive(&mut &bytes[..])?,
        Err(error) => return Err(broken(error).into()),
    };
    send(stream, &preface::OWN.bytes()).await?;
    // Where they do not meet the recipient sees so by our versions, and does not come again.
    theirs.common_version()?;
    let mut transcript = Transcript::begin(theirs, preface::OWN);
    let hello = hear(stream, Kind::Hello, &mut transcript).await?;
    Ok((hello, transcript))
}

/// Challenges the recipient where there is a secret. Without one, and without the word that anyone may have the
/// data, nobody gets past here but who asks for no more than a report. Returns the secret that the recipient knows.
async fn prove(
    donor: &Donor,
    hello: &Hello,
    stream: &mut TcpStream,
    transcript: &mut Transcript,
) -> Result<Option<Secret>, Ended> {
    let keys = donor.settings.peering.secret.as_ref().map(CloneSecret::now);
    if keys.is_none() && !donor.settings.donate_to_anyone && hello.wants != Wants::Report {
        return Err(refused(
            Event::RefusedNoSecret,
            Why::Unauthorised,
            "this donor has no clone secret and gives to nobody",
        ));
    }
    let nonce = auth::nonce().map_err(|error| WireError::Malformed(error.to_string()))?;
    transcript.add(&say(stream, Kind::Challenge, &Challenge { nonce, proof: keys.is_some() }).await?);
    let Some(keys) = keys else { return Ok(None) };

    let said = transcript.clone();
    let proof: Proof = hear(stream, Kind::Proof, transcript).await?;
    let proven = keys.all().find(|secret| said.verify(secret, Side::Recipient, &proof.hmac));
    let wrong =
        || refused(Event::RefusedUnauthorised, Why::Unauthorised, "the recipient's clone secret is not this donor's");
    proven.cloned().map(Some).ok_or_else(wrong)
}

/// Sends one message, and returns its bytes.
pub async fn say(stream: &mut TcpStream, kind: Kind, message: &impl Serialize) -> Result<Vec<u8>, WireError> {
    let bytes = frame::write_control(&mut Vec::new(), kind, message)?;
    send(stream, &bytes).await?;
    Ok(bytes)
}

async fn send(stream: &mut TcpStream, bytes: &[u8]) -> Result<(), WireError> {
    stream.write_all(bytes).await.map_err(WireError::Io)
}

/// Memory is taken as the bytes come.
async fn hear<T: DeserializeOwned>(
    stream: &mut TcpStream,
    kind: Kind,
    transcript: &mut Transcript,
) -> Result<T, WireError> {
    let mut bytes = [0; HEADER_LENGTH];
    stream.read_exact(&mut bytes).await.map_err(broken)?;
    let header = frame::read_header(&mut &bytes[..])?;
    if header.kind != kind {
        return Err(WireError::Malformed(format!("a {:?} message where a {kind:?} belongs", header.kind)));
    }
    let mut body = Vec::new();
    stream.take(header.length as u64).read_to_end(&mut body).await.map_err(broken)?;
    if body.len() < header.length {
        return Err(WireError::Ended("in the middle of a message"));
    }
    transcript.add(&bytes);
    transcript.add(&body);
    frame::parse(kind, &body)
}

fn broken(error: std::io::Error) -> WireError {
    match error.kind() {
        ErrorKind::UnexpectedEof => WireError::Ended("before it was done"),
        _ => WireError::Io(error),
    }
}

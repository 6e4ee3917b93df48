//! The recipient's half of the handshake, from connecting to the offer.

use std::io::ErrorKind;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::{Recipient, Setback};
use crate::deadline::DeadlineReader;
use crate::settings::HostPort;
use crate::wire::auth::{self, Side, Transcript};
use crate::wire::data::DataReader;
use crate::wire::frame::{self, Kind, WireError};
use crate::wire::message::{Challenge, Hello, Offer, Proof, Refusal};
use crate::wire::preface;

/// To one address. A pod that was deleted a moment ago doesn't answer at all.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// For all that the donor says before its offer; it may have to start the backup tool meanwhile.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(20);

/// A donor that has offered, and the stream that it is sending.
pub struct Incoming {
    pub offer: Offer,
    pub data: DataReader<TcpStream>,
}

impl From<WireError> for Setback {
    /// Before the offer, a broken connection is as good as none, and nonsense is nothing to try again.
    fn from(error: WireError) -> Setback {
        match error {
            WireError::Malformed(what) => Setback::Unacceptable(what),
            other => Setback::Unreachable(other.to_string()),
        }
    }
}

/// Connects, proves, and has the donor prove.
pub fn shake_hands(recipient: &Recipient<'_>, donor: &HostPort) -> Result<Incoming, Setback> {
    let stream = connect(donor)?;
    let stall = recipient.peering.stall_timeout;
    let _ = stream.set_nodelay(true);
    let _ = stream.set_write_timeout(Some(stall));
    let offer = converse(recipient, &stream)?;
    stream.set_read_timeout(Some(stall)).map_err(|error| Setback::Unreachable(error.to_string()))?;
    Ok(Incoming { offer, data: DataReader::new(stream) })
}

fn connect(donor: &HostPort) -> Result<TcpStream, Setback> {
    let addresses = (donor.host.as_str(), donor.port)
        .to_socket_addrs()
        .map_err(|error| Setback::Unreachable(format!("the name {} does not resolve: {error}", donor.host)))?;
    let mut last = "the name has no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT_LIMIT) {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                last = format!("nobody listens at {address}");
            }
            Err(error) => last = format!("{address}: {error}"),
        }
    }
    Err(Setback::Unreachable(last))
}

fn converse(recipient: &Recipient<'_>, mut stream: &TcpStream) -> Result<Offer, Setback> {
    let mut input = DeadlineReader::new(stream, Instant::now() + HANDSHAKE_LIMIT);
    let mut transcript = Transcript::default();
    preface::send(&mut stream)?;
    transcript.add(&frame::write_control(&mut stream, Kind::Hello, &hello(recipient)?)?);
    preface::receive(&mut input)?.common_version()?;
    let challenge: Challenge = expect(&mut input, Kind::Challenge, &mut transcript)?;

    let secret = recipient.peering.secret.as_ref();
    match (secret, challenge.proof) {
        (Some(secret), true) => {
            let proof = Proof { hmac: transcript.prove(secret, Side::Recipient) };
            transcript.add(&frame::write_control(&mut stream, Kind::Proof, &proof)?);
        }
        (None, true) => {
            return Err(Setback::Unacceptable(
                "the donor asks for a clone secret: set MYSQLSET_CLONE_SECRET_FILE or MYSQLSET_CLONE_SECRET".into(),
            ));
        }
        (Some(_), false) => {
            return Err(Setback::Unacceptable(
                "the donor does not know the clone secret (it did not ask for it): nothing is taken from it".into(),
            ));
        }
        (None, false) => {}
    }
    let offer: Offer = expect(&mut input, Kind::Offer, &mut transcript)?;
    if let Some(secret) = secret {
        let said = transcript.clone();
        let proof: Proof = expect(&mut input, Kind::Proof, &mut transcript)?;
        if !said.verify(secret, Side::Donor, &proof.hmac) {
            return Err(Setback::Unacceptable(
                "the donor does not know the clone secret: nothing is taken from it".into(),
            ));
        }
    }
    if !recipient.formats.contains(&offer.format) {
        return Err(Setback::Unacceptable(format!("the donor sends {}, which was not asked for", offer.format)));
    }
    Ok(offer)
}

fn hello(recipient: &Recipient<'_>) -> Result<Hello, Setback> {
    Ok(Hello {
        set: recipient.member.set.clone(),
        ordinal: recipient.member.ordinal.0,
        nonce: auth::nonce().map_err(Setback::Fatal)?,
        formats: recipient.formats.iter().map(ToString::to_string).collect(),
        set_id: None,
    })
}

/// Reads the message that is due, or the refusal that may come in its place.
fn expect<T: serde::de::DeserializeOwned>(
    input: &mut DeadlineReader<'_>,
    kind: Kind,
    transcript: &mut Transcript,
) -> Result<T, Setback> {
    let header = frame::read_header(input)?;
    let body = frame::read_body(input, header)?;
    if header.kind == Kind::Refusal {
        return Err(Setback::Refused(frame::parse::<Refusal>(Kind::Refusal, &body)?));
    }
    if header.kind != kind {
        return Err(Setback::Unacceptable(format!(
            "the donor sent a {:?} message where a {kind:?} belongs",
            header.kind
        )));
    }
    transcript.add(&frame::header_bytes(kind, body.len()));
    transcript.add(&body);
    Ok(frame::parse(kind, &body)?)
}

//! Who gets a clone: the donor's half of the handshake, from the first byte to the offer or the refusal.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::net::sockopt::set_tcp_user_timeout;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tracing::debug;

use super::preflight::Survey;
use super::way::{self, Way};
use super::{Donor, Turn, backup, bare, plugin, preflight, report};
use crate::clone_secret::CloneSecret;
use crate::deadline::DeadlineReader;
use crate::event::{Event, info};
use crate::secret::Secret;
use crate::wire::auth::{self, Side, Transcript};
use crate::wire::frame::{self, Kind, WireError};
use crate::wire::message::{Challenge, Hello, Proof, Refusal, Wants, Why};
use crate::wire::preface;

/// The whole handshake of a peer must be done in this time, however it spreads its bytes.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// What is asked before an offer is asked in this time: recipients wait for 80 seconds.
const PREFLIGHT_LIMIT: Duration = Duration::from_secs(70);

/// When a recipient that found us busy or not ready may come back, in seconds.
const RETRY_AFTER: u64 = 2;

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
    secret: Option<Secret>,
}

/// What a peer that has proven itself gets.
enum Given<'a> {
    Turn(Turn, Way<'a>, Box<Survey>),
    Report,
}

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

/// One connection, from its first byte to its last.
pub fn handle(donor: &Donor, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    limit_silence(&stream, donor.settings.peering.stall_timeout);
    if donor.settings.donate_unproven_stream && bare::is_silent(&stream) {
        return bare::serve(donor, &stream);
    }
    let (hello, said) = match greet(donor, &stream) {
        Ok(greeted) => greeted,
        Err(ended) => return end(donor, &stream, None, ended),
    };
    match give(donor, &hello) {
        Ok(Given::Turn(turn, way, survey)) => {
            let recipient = Admitted { stream, hello, said, turn, survey: *survey };
            match way {
                Way::Tool(tool) => backup::serve(donor, tool, recipient),
                Way::Plugin => plugin::serve(donor, recipient),
            }
        }
        Ok(Given::Report) => give_report(donor, &stream, &hello, said),
        Err(ended) => end(donor, &stream, Some(said), ended),
    }
}

/// Ends a handshake that leads to nothing, and counts it.
fn end(donor: &Donor, stream: &TcpStream, said: Option<Said>, ended: Ended) {
    match ended {
        Ended::Refused(refusal) => {
            info!(= refusal.event, why = refusal.why.name(), "refused: {}", refusal.text);
            donor.metrics.refused(refusal.why);
            refuse(stream, said, &refusal);
        }
        Ended::Broken(error) => {
            info!(DonorHandshakeBroken, "a connection brought no request for a clone: {error}");
            donor.metrics.broken_handshake();
        }
    }
}

/// Has a peer given up that takes nothing for so long, or acknowledges nothing of what it was sent: heartbeats go into a
/// buffer, whether anybody is there or not. (TCP_USER_TIMEOUT, tcp(7))
fn limit_silence(stream: &TcpStream, stall: Duration) {
    let _ = stream.set_write_timeout(Some(stall));
    let _ = set_tcp_user_timeout(stream, u32::try_from(stall.as_millis()).unwrap_or(u32::MAX));
}

/// Sends a refusal, and waits for the peer to read it: closing with unread bytes would take it away again. A peer that
/// has proven itself gets our proof with it: what was `said` is the whole handshake.
pub fn refuse(mut stream: &TcpStream, said: Option<Said>, refusal: &Refusal) {
    let sent = match said {
        Some(said) => answer(stream, said, Kind::Refusal, refusal),
        None => frame::write_control(&mut stream, Kind::Refusal, refusal).map(drop),
    };
    if sent.is_ok() {
        let_it_read(stream);
    }
}

/// Gives an admitted peer what it asked for, with the proof that we know the secret too, where there is one.
pub fn answer(mut stream: &TcpStream, said: Said, kind: Kind, message: &impl Serialize) -> Result<(), WireError> {
    let Said { mut transcript, secret } = said;
    transcript.add(&frame::write_control(&mut stream, kind, message)?);
    let Some(secret) = secret else { return Ok(()) };
    let proof = Proof { hmac: transcript.prove(&secret, Side::Donor) };
    frame::write_control(&mut stream, Kind::Proof, &proof).map(drop)
}

/// Ends our side, and gives the peer a moment to read what was sent.
pub fn let_it_read(stream: &TcpStream) {
    if stream.shutdown(Shutdown::Write).is_ok() {
        let mut reader = DeadlineReader::new(stream, Instant::now() + Duration::from_secs(1));
        let _ = std::io::copy(&mut reader, &mut std::io::sink());
    }
}

/// Answers who asks what this pod is. That it isn't heard is the peer's concern.
fn give_report(donor: &Donor, stream: &TcpStream, hello: &Hello, said: Said) {
    let report = report::report(donor, hello);
    debug!(to = hello.pod(), "reporting");
    match answer(stream, said, Kind::Report, &report) {
        Ok(()) => let_it_read(stream),
        Err(error) => debug!("a report was not taken: {error}"),
    }
}

/// The peer's half: who it is, and that it knows the secret where there is one.
fn greet(donor: &Donor, mut stream: &TcpStream) -> Result<(Hello, Said), Ended> {
    let mut input = DeadlineReader::new(stream, Instant::now() + HANDSHAKE_LIMIT);
    let theirs = preface::receive(&mut input)?;
    preface::send(&mut stream)?;
    if let Err(error) = theirs.common_version() {
        // The recipient sees by our versions what is wrong, and does not come again.
        let_it_read(stream);
        return Err(error.into());
    }
    let mut transcript = Transcript::begin(theirs, preface::OWN);
    let hello: Hello = expect(&mut input, Kind::Hello, &mut transcript)?;

    let secret = prove(donor, &hello, &mut input, stream, &mut transcript)?;
    Ok((hello, Said { transcript, secret }))
}

/// What a peer gets that has proven itself.
fn give<'a>(donor: &'a Donor, hello: &Hello) -> Result<Given<'a>, Ended> {
    check_set(donor, hello)?;
    if hello.wants == Wants::Report {
        return Ok(Given::Report);
    }
    let (turn, way, survey) = take_turn(donor, hello)?;
    Ok(Given::Turn(turn, way, Box::new(survey)))
}

/// A turn for who may have a clone, where one can be made now and would be of use to him; and what is
/// known of the backup.
pub fn take_turn<'a>(donor: &'a Donor, hello: &Hello) -> Result<(Turn, Way<'a>, Survey), Ended> {
    if donor.stopping.load(Ordering::Relaxed) || donor.status.is_held() {
        return Err(passing(Event::RefusedStopping, Why::Stopping, "this sidecar is about to stop"));
    }
    let snapshot = donor.status.get();
    let fit = match hello.wants {
        Wants::Recovery => snapshot.fit_for_recovery(),
        Wants::Clone | Wants::Report => snapshot.fit_to_donate(donor.settings.max_donor_lag),
        Wants::Unknown => {
            let text = "the recipient asks for something that this donor's version doesn't know";
            return Err(refused(Event::RefusedUnknownWish, Why::Unsupported, text));
        }
    };
    fit.map_err(|cause| passing(cause.event, Why::NotReady, &cause.text))?;
    let way = way::choose(donor, hello).map_err(Ended::Refused)?;
    let busy = || passing(Event::RefusedBusy, Why::Busy, "another clone is being served");
    let turn = Turn::take(donor).ok_or_else(busy)?;
    let checked = Handle::current().block_on(timeout(PREFLIGHT_LIMIT, preflight::check(donor, way, hello)));
    let too_slow = || {
        let text = format!("this donor's server did not answer all questions in {} seconds", PREFLIGHT_LIMIT.as_secs());
        passing(Event::RefusedSlowServer, Why::NotReady, &text)
    };
    let survey = checked.map_err(|_| too_slow())?.map_err(Ended::Refused)?;
    Ok((turn, way, survey))
}

/// Challenges the recipient where there is a secret. Without one, and without the word that anyone may have the
/// data, nobody gets past here but who asks for no more than a report. Returns the secret that the recipient knows.
fn prove(
    donor: &Donor,
    hello: &Hello,
    input: &mut DeadlineReader<'_>,
    mut stream: &TcpStream,
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
    let challenge = frame::write_control(&mut stream, Kind::Challenge, &Challenge { nonce, proof: keys.is_some() })?;
    stream.flush().map_err(WireError::Io)?;
    transcript.add(&challenge);
    let Some(keys) = keys else { return Ok(None) };

    let said = transcript.clone();
    let proof: Proof = expect(input, Kind::Proof, transcript)?;
    let proven = keys.all().find(|secret| said.verify(secret, Side::Recipient, &proof.hmac));
    let wrong =
        || refused(Event::RefusedUnauthorised, Why::Unauthorised, "the recipient's clone secret is not this donor's");
    proven.cloned().map(Some).ok_or_else(wrong)
}

fn check_set(donor: &Donor, hello: &Hello) -> Result<(), Ended> {
    let own = &donor.settings.member.set;
    if &hello.set != own {
        let text = format!("this donor belongs to the set {own:?}, the recipient to {:?}", hello.set);
        return Err(refused(Event::RefusedOtherSet, Why::WrongSet, &text));
    }
    let own_id = donor.status.get().set_id;
    match (&hello.set_id, own_id) {
        (Some(theirs), Some(ours)) if *theirs != ours => {
            let text = format!("the recipient's data are of set identity {theirs}, this donor's of {ours}");
            Err(refused(Event::RefusedOtherData, Why::WrongSet, &text))
        }
        _ => Ok(()),
    }
}

fn expect<T: serde::de::DeserializeOwned>(
    input: &mut DeadlineReader<'_>,
    kind: Kind,
    transcript: &mut Transcript,
) -> Result<T, WireError> {
    let header = frame::read_header(input)?;
    if header.kind != kind {
        return Err(WireError::Malformed(format!("a {:?} message where a {kind:?} belongs", header.kind)));
    }
    let body = frame::read_body(input, header)?;
    transcript.add(&frame::header_bytes(kind, body.len()));
    transcript.add(&body);
    frame::parse(kind, &body)
}

fn refused(event: Event, why: Why, text: &str) -> Ended {
    Ended::Refused(Refusal::new(event, why, text))
}

fn passing(event: Event, why: Why, text: &str) -> Ended {
    Ended::Refused(Refusal::passing(event, why, text, RETRY_AFTER))
}

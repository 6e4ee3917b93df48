//! A recipient's messages, for tests that play one: it greets, asks for a clone, and proves that it knows a secret.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use mysqlset::model::event::Event;
use mysqlset::protocol::auth::{Side, Transcript};
use mysqlset::protocol::frame::{self, Kind};
use mysqlset::protocol::message::{Challenge, Hello, Proof, Wants};
use mysqlset::protocol::preface;
use mysqlset::sys::secret::Secret;
use mysqlset::unpack::Format;
use serde::Serialize;

use crate::logged::Said;
use crate::pods::Cluster;

/// The time limit for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// A recipient that ignores an offered backup.
pub fn ask_for_a_clone(cluster: &Cluster) -> Result<TcpStream> {
    let mut stream = cluster.connect("mysql-0", 3307)?;
    greet(&mut stream)?;
    Ok(stream)
}

/// Greets as an honest recipient, and fails without an offer of a backup.
pub fn greet(stream: &mut TcpStream) -> Result<()> {
    greet_as(stream, &hello())
}

/// The greeting of an honest recipient, pod 7 of the set.
pub fn hello() -> Hello {
    let formats = Format::ALL.iter().map(ToString::to_string).collect();
    Hello { set: "mysql".into(), ordinal: 7, nonce: "00".repeat(32), formats, ..Hello::default() }
}

/// Greets with any words. The error quotes the donor's answer instead of an offer.
pub fn greet_as(mut stream: &TcpStream, hello: &impl Serialize) -> Result<()> {
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    preface::send(&mut stream)?;
    frame::write_control(&mut stream, Kind::Hello, hello)?;
    preface::receive(&mut stream)?;
    loop {
        let header = frame::read_header(&mut stream)?;
        let body = frame::read_body(&mut stream, header)?;
        match header.kind {
            Kind::Challenge => {}
            Kind::Offer => return Ok(()),
            other => bail!("{other:?}: {}", String::from_utf8_lossy(&body)),
        }
    }
}

/// The messages of an overheard handshake.
pub struct Overheard {
    pub challenge: Challenge,
    pub said: Transcript,
}

/// A hello, and the donor's challenge.
pub fn be_challenged(stream: &TcpStream) -> Result<Overheard> {
    be_challenged_behind(&preface::OWN.bytes(), &hello(), stream)
}

/// The same where the recipient's preface was altered on its way.
pub fn be_challenged_behind(altered: &[u8], hello: &Hello, mut stream: &TcpStream) -> Result<Overheard> {
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all(altered)?;
    let mut said = Transcript::begin(preface::OWN, preface::OWN);
    said.add(&frame::write_control(&mut stream, Kind::Hello, hello)?);
    preface::receive(&mut stream)?;
    let header = frame::read_header(&mut stream)?;
    let body = frame::read_body(&mut stream, header)?;
    said.add(&frame::header_bytes(header.kind, body.len()));
    said.add(&body);
    Ok(Overheard { challenge: frame::parse(Kind::Challenge, &body)?, said })
}

/// The donor's answer to a proof.
pub fn prove(mut stream: &TcpStream, hmac: String) -> Result<(Kind, String)> {
    frame::write_control(&mut stream, Kind::Proof, &Proof { hmac })?;
    let header = frame::read_header(&mut stream)?;
    let body = frame::read_body(&mut stream, header)?;
    Ok((header.kind, String::from_utf8_lossy(&body).into_owned()))
}

/// Whether a recipient that proves this secret gets a report.
pub fn prove_with(stream: &TcpStream, secret: &str) -> Result<bool> {
    let own = be_challenged_behind(&preface::OWN.bytes(), &Hello { wants: Wants::Report, ..hello() }, stream)?;
    let (kind, text) = prove(stream, own.said.prove(&Secret::new(secret), Side::Recipient))?;
    ensure!(kind == Kind::Report || text.names(Event::RefusedUnauthorised), "{kind:?}: {text}");
    Ok(kind == Kind::Report)
}

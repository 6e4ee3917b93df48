//! Who connects to the open port and gets nothing: of another set, of another version, without the secret, or nobody at all.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mysqlset::model::event::Event;
use mysqlset::model::identity::SetId;
use mysqlset::model::position::Position;
use mysqlset::protocol::auth::{Side, Transcript};
use mysqlset::protocol::frame::{self, Kind};
use mysqlset::protocol::message::{Challenge, Hello, Proof, Report, Wants};
use mysqlset::protocol::preface;
use mysqlset::sys::secret::Secret;
use rustix::process::Signal;

use crate::faults::{greet_as, hello};
use crate::needs;
use crate::pods::PATIENCE;
use crate::pods::logged::Said;

use crate::set;

#[test]
fn a_recipient_of_another_set_gets_nothing() -> Result<()> {
    needs!(BackupTool);
    let cluster = set::start(1, |_| {})?;
    cluster.wait_ready(1)?;
    for (set, set_id, event) in
        [("mysql", Some(SetId::of_random([7; 16])), Event::RefusedOtherData), ("other", None, Event::RefusedOtherSet)]
    {
        let hello = Hello { set: set.into(), set_id, ..hello() };
        let refused = greet_as(&cluster.connect("mysql-0", 3307)?, &hello).err().context("a clone was offered")?;
        assert!(refused.to_string().names(event), "{refused}");
    }
    Ok(())
}

/// What it wants is a name that this version doesn't know.
#[test]
fn a_newer_recipient_is_told_that_this_donor_does_not_know_what_it_wants() -> Result<()> {
    let cluster = set::start(1, |_| {})?;
    cluster.wait_ready(1)?;
    let mut hello = serde_json::to_value(hello())?;
    hello["wants"] = "something-new".into();
    let refused = greet_as(&cluster.connect("mysql-0", 3307)?, &hello).err().context("a clone was offered")?;
    assert!(refused.to_string().names(Event::RefusedUnknownWish), "{refused}");
    Ok(())
}

#[test]
fn garbage_and_silence_on_the_open_port_end_nothing() -> Result<()> {
    let cluster = set::start(1, |_| {})?;
    cluster.wait_ready(1)?;
    let sidecar = cluster.pid("mysql-0", "sidecar")?;
    let silent: Vec<TcpStream> = (0..8).map(|_| cluster.connect("mysql-0", 3307)).collect::<Result<_>>()?;
    for (garbage, expected) in [
        (&b""[..], &b""[..]),
        (b"GET / HTTP/1.1\r\n\r\n", b""),
        (b"MYSQLSET", b""),
        (b"MYSQLSET\x01\0\x01\0H\0\0\0\xff\xff\xff\xff", b"MYSQLSET\x01\0\x01\0"),
        (&[0xff; 100_000], b""),
    ] {
        let mut stream = cluster.connect("mysql-0", 3307)?;
        let _ = stream.write_all(garbage);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert_eq!(answer, expected, "to {garbage:?}");
    }
    // Who speaks later versions only is told ours, so that it sees that there is no use in coming again.
    let mut newer = cluster.connect("mysql-0", 3307)?;
    newer.write_all(b"MYSQLSET\x09\0\x08\0")?;
    frame::write_control(&mut newer, Kind::Hello, &hello())?;
    let mut answer = Vec::new();
    newer.read_to_end(&mut answer)?;
    assert_eq!(answer, b"MYSQLSET\x01\0\x01\0");
    cluster.scale(2);
    cluster.wait_ready(2)?;
    drop(silent);
    assert_eq!(cluster.pid("mysql-0", "sidecar")?, sidecar);
    Ok(())
}

/// What the donor's tool writes it can't unpack.
#[test]
fn a_recipient_that_takes_another_format_is_sent_nothing() -> Result<()> {
    needs!(BackupTool);
    let cluster = set::start(1, |_| {})?;
    cluster.wait_ready(1)?;
    for formats in [vec!["xbstream-percona".to_owned(), "tar".to_owned()], vec!["cpio".to_owned()], Vec::new()] {
        let hello = Hello { formats, ..hello() };
        let refused = greet_as(&cluster.connect("mysql-0", 3307)?, &hello).err().context("a clone was offered")?;
        let refused = refused.to_string();
        assert!(refused.names(Event::RefusedMethod) && refused.contains("xbstream-mariadb"), "{refused}");
    }
    Ok(())
}

/// What was said in a handshake that somebody overheard.
struct Overheard {
    challenge: Challenge,
    said: Transcript,
}

/// A hello, and the donor's challenge.
fn be_challenged(stream: &TcpStream) -> Result<Overheard> {
    be_challenged_behind(&preface::OWN.bytes(), &hello(), stream)
}

/// The same where the recipient's preface was altered on its way.
fn be_challenged_behind(altered: &[u8], hello: &Hello, mut stream: &TcpStream) -> Result<Overheard> {
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
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

/// What the donor says to a proof.
fn prove(mut stream: &TcpStream, hmac: String) -> Result<(Kind, String)> {
    frame::write_control(&mut stream, Kind::Proof, &Proof { hmac })?;
    let header = frame::read_header(&mut stream)?;
    let body = frame::read_body(&mut stream, header)?;
    Ok((header.kind, String::from_utf8_lossy(&body).into_owned()))
}

/// Whether a peer that proves to know this secret is given a report.
pub fn prove_with(stream: &TcpStream, secret: &str) -> Result<bool> {
    let own = be_challenged_behind(&preface::OWN.bytes(), &Hello { wants: Wants::Report, ..hello() }, stream)?;
    let (kind, text) = prove(stream, own.said.prove(&Secret::new(secret), Side::Recipient))?;
    ensure!(kind == Kind::Report || text.names(Event::RefusedUnauthorised), "{kind:?}: {text}");
    Ok(kind == Kind::Report)
}

#[test]
fn a_proof_that_was_overheard_proves_nothing() -> Result<()> {
    needs!(BackupTool);
    const SECRET: &str = "geheim-und-sehr-lang";
    let cluster = set::start_with_secret(1, SECRET)?;
    cluster.wait_ready(1)?;
    let connect = || cluster.connect("mysql-0", 3307);
    let (first, second) = (connect()?, connect()?);
    let [one, other] = [be_challenged(&first)?, be_challenged(&second)?];
    assert!(one.challenge.proof && one.challenge.nonce.len() == 64, "{:?}", one.challenge);
    assert_ne!(one.challenge.nonce, other.challenge.nonce);
    let right = |said: &Transcript| said.prove(&Secret::new(SECRET), Side::Recipient);
    for (number, side) in [Side::Recipient, Side::Donor].into_iter().enumerate() {
        let stream = connect()?;
        let own = be_challenged(&stream)?;
        // Another connection's proof, and the donor's own.
        let said = if number == 0 { &other.said } else { &own.said };
        let (kind, text) = prove(&stream, said.prove(&Secret::new(SECRET), side))?;
        assert!(kind == Kind::Refusal && text.names(Event::RefusedUnauthorised), "{kind:?}: {text}");
    }
    let stream = connect()?;
    let own = be_challenged_behind(b"MYSQLSET\x01\0\0\0", &hello(), &stream)?;
    let (kind, text) = prove(&stream, right(&own.said))?;
    assert!(kind == Kind::Refusal && text.names(Event::RefusedUnauthorised), "a lower version: {kind:?}: {text}");
    let (kind, text) = prove(&first, right(&one.said))?;
    assert_eq!(kind, Kind::Offer, "{text}");
    Ok(())
}

/// More than are looked at, at once: the rest wait in the kernel's queue, and all are gone after the handshake's time.
#[test]
fn who_connects_and_says_nothing_costs_no_thread_and_keeps_nobody_waiting() -> Result<()> {
    let cluster = set::start(1, |_| {})?;
    cluster.wait_ready(1)?;
    let threads = || -> Result<usize> {
        let sidecar = cluster.pid("mysql-0", "sidecar")?;
        Ok(std::fs::read_dir(format!("/proc/{sidecar}/task"))?.count())
    };
    let silent = (0..100).map(|_| cluster.connect("mysql-0", 3307)).collect::<Result<Vec<TcpStream>>>()?;
    let began = Instant::now();
    let stream = cluster.connect("mysql-0", 3307)?;
    let hello = Hello { wants: mysqlset::protocol::message::Wants::Unknown, ..hello() };
    let answer = greet_as(&stream, &hello).err().context("a clone was offered")?;
    let waited = began.elapsed();
    ensure!(answer.to_string().names(Event::RefusedUnknownWish), "{answer}");
    ensure!(waited < Duration::from_secs(3), "it waited {waited:?} behind the silent ones");
    let now = threads()?;
    ensure!(now < 20, "{now} threads for {} connections that say nothing", silent.len());
    Ok(())
}

/// Each was a login, a thousand of them a second. Questions differ, so that no answer is another's.
#[test]
fn reports_cost_the_server_few_logins() -> Result<()> {
    let cluster = set::start(1, |_| {})?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    let logins = || -> Result<u64> {
        let rows = cluster.sql("mysql-0", "SHOW GLOBAL STATUS LIKE 'Connections'")?;
        Ok(rows.first().and_then(|row| row.get(1)).context("no such variable")?.parse()?)
    };
    let is_mariadb = cluster.value("mysql-0", "SELECT VERSION()")?.contains("MariaDB");
    let report = |number: u64| -> Result<Report> {
        let about = Some(Position::BinlogFile { file: "mysql-bin.000001".into(), offset: number });
        let history = Some(match is_mariadb {
            true => format!("7-7-{}", number + 1),
            false => format!("00000000-0000-0000-0000-000000000007:{}", number + 1),
        });
        let stream = cluster.connect("mysql-0", 3307)?;
        let hello = Hello { wants: Wants::Report, about, history, ..hello() };
        let answer = greet_as(&stream, &hello).err().context("a clone was offered")?.to_string();
        serde_json::from_str(answer.strip_prefix("Report: ").context(answer.clone())?).context(answer.clone())
    };
    let (before, began) = (logins()?, Instant::now());
    for number in 0..400 {
        let report = report(number)?;
        ensure!(report.applied.is_some() && report.cannot_follow.is_some(), "{report:?}");
        ensure!(report.unknown_history.as_ref().is_some_and(|unknown| !unknown.is_empty()), "{report:?}");
    }
    let made = logins()? - before;
    // The sidecar's own eyes and this test's too.
    let allowed = 20 + 6 * began.elapsed().as_secs();
    ensure!(made <= allowed.min(200), "{made} logins for 400 reports in {:?}", began.elapsed());

    // An answer is no older than a second, and its session is gone with it.
    let position = |report: Report| report.applied.map(|position| position.to_string());
    let first = position(report(0)?);
    cluster.sql("mysql-0", "CREATE DATABASE later")?;
    let deadline = Instant::now() + PATIENCE;
    while position(report(0)?) == first {
        ensure!(Instant::now() < deadline, "the report still says {first:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    let sessions = || cluster.value("mysql-0", "SELECT COUNT(*) FROM information_schema.processlist");
    let deadline = Instant::now() + PATIENCE;
    while sessions()?.parse::<u32>()? > 4 {
        ensure!(Instant::now() < deadline, "{} sessions are open", sessions()?);
        std::thread::sleep(Duration::from_millis(100));
    }

    // A server that hangs costs nobody the volume's part.
    cluster.signal("mysql-0", "mysql", Signal::STOP)?;
    std::thread::sleep(Duration::from_secs(1));
    let asked = Instant::now();
    let silent = report(0);
    cluster.signal("mysql-0", "mysql", Signal::CONT)?;
    let silent = silent?;
    ensure!(silent.has_data && silent.set_id.is_some() && silent.applied.is_none(), "{silent:?}");
    ensure!(asked.elapsed() < Duration::from_secs(5), "the report took {:?}", asked.elapsed());
    Ok(())
}

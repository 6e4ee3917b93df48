//! Peers at the open port that get nothing: of another set, of another version, without the secret, or silent.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::logged::Said;
use harness::needs;
use harness::pods::PATIENCE;
use harness::set;
use harness::stand_ins::recipient::{be_challenged, be_challenged_behind, greet_as, hello, prove};
use mysqlset::model::event::Event;
use mysqlset::model::identity::SetId;
use mysqlset::model::position::Position;
use mysqlset::protocol::auth::{Side, Transcript};
use mysqlset::protocol::frame::{self, Kind};
use mysqlset::protocol::message::{Hello, Report, Wants};
use mysqlset::sys::secret::Secret;
use rustix::process::Signal;

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

/// Its request has a name that this version does not know.
#[test]
fn a_newer_recipient_learns_that_its_request_is_unknown() -> Result<()> {
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
    // The donor tells its own versions to a peer that speaks later ones only. So the peer sees that a retry is useless.
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

/// It cannot unpack the format of the donor's tool.
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
        // The proofs of another connection, and the donor's own.
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

/// More than the donor serves at once. The rest wait in the kernel's queue, and all are gone after the handshake's
/// time.
#[test]
fn silent_connections_cost_no_thread_and_delay_no_peer() -> Result<()> {
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

/// Earlier, each report was a login, a thousand of them a second. The queries differ, so that each needs an answer of
/// its own.
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
    // The logins of the sidecar itself and of this test count too.
    let allowed = 20 + 6 * began.elapsed().as_secs();
    ensure!(made <= allowed.min(200), "{made} logins for 400 reports in {:?}", began.elapsed());

    // An answer is at most a second old, and its session ends with it.
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

    // While a server hangs, the report still has the volume's part.
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

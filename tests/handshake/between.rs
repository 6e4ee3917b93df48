//! An attacker in between, who overhears, replays, reflects or changes messages.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};

use harness::sidecar::{Sidecar, ask, connect_to, own_address, peering};
use mysqlset::clone::connection::{Refused, Silence};
use mysqlset::protocol::frame::{self, Kind};
use mysqlset::protocol::message::{Refusal, Report, Why};
use mysqlset::protocol::preface;
use mysqlset::settings::Peering;

/// The number of parallel relays. A message with a falsified length takes seconds, and there are some of these.
const SIDE_BY_SIDE: usize = 24;

/// The speaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    Recipient,
    Donor,
}

/// The change to the passing bytes.
#[derive(Clone, Copy, Debug)]
enum Change {
    Nothing,
    Flip {
        from: Sender,
        at: usize,
        bit: u8,
    },
    /// As long as the bytes that it replaces.
    Word {
        from: Sender,
        old: &'static str,
        new: &'static str,
    },
}

impl Change {
    /// Changes bytes, the first of which is at position `begin`.
    fn make(self, speaker: Sender, begin: usize, bytes: &mut [u8]) {
        match self {
            Change::Flip { from, at, bit } if from == speaker && (begin..begin + bytes.len()).contains(&at) => {
                bytes[at - begin] ^= 1 << bit;
            }
            Change::Word { from, old, new } if from == speaker => {
                if let Some(at) = bytes.windows(old.len()).position(|window| window == old.as_bytes()) {
                    bytes[at..at + new.len()].copy_from_slice(new.as_bytes());
                }
            }
            _ => {}
        }
    }
}

/// Both ends' bytes as they were sent, in both directions.
#[derive(Default)]
struct Said {
    recipient: Vec<u8>,
    donor: Vec<u8>,
}

/// Passes bytes on until their end.
fn pass(from: Sender, change: Change, mut input: TcpStream, mut output: TcpStream) -> Vec<u8> {
    let (mut said, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = input.read(&mut buffer) {
        let begin = said.len();
        said.extend(&buffer[..count]);
        change.make(from, begin, &mut buffer[..count]);
        if output.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = output.shutdown(Shutdown::Write);
    said
}

/// The same through an attacker who changes the bytes.
fn ask_through(change: Change, peering: &Peering, donor: SocketAddr) -> (Result<Report, Silence>, Said) {
    let listener = TcpListener::bind((own_address(), 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::scope(|scope| {
        let relay = scope.spawn(move || {
            let (recipient, donor) = (listener.accept().unwrap().0, connect_to(donor));
            recipient.set_nodelay(true).unwrap();
            let (input, output) = (recipient.try_clone().unwrap(), donor.try_clone().unwrap());
            let there = std::thread::spawn(move || pass(Sender::Recipient, change, input, output));
            let donor = pass(Sender::Donor, change, donor, recipient);
            Said { recipient: there.join().unwrap(), donor }
        });
        let answer = ask(peering, address);
        (answer, relay.join().unwrap())
    })
}

/// Every changed answer is refused, and a refusal never counts as proven.
fn must_be_refused(change: Change, answer: &Result<Report, Silence>) {
    match answer {
        Ok(report) => panic!("{change:?}: {report:?}"),
        Err(Silence::Refused(Refused { is_proven: true, refusal })) => panic!("{change:?}: proven: {refusal}"),
        Err(Silence::Fatal(error)) => panic!("{change:?}: {error:#}"),
        Err(Silence::Refused(_) | Silence::Mute(_) | Silence::Unreachable(_) | Silence::Unacceptable(_))
        | Err(Silence::Legacy) => {}
    }
}

#[test]
fn a_flipped_bit_breaks_a_handshake() {
    let (mut sidecar, peering) = (Sidecar::start("mysql-0"), peering());
    let (honest, said) = ask_through(Change::Nothing, &peering, sidecar.address);
    assert_eq!(honest.unwrap().pod, "mysql-0");
    assert!(said.recipient.len() > 250 && said.donor.len() > 200, "{} {}", said.recipient.len(), said.donor.len());
    let bits = |from, length| (0..length).flat_map(move |at| (0..8).map(move |bit| Change::Flip { from, at, bit }));
    let changes: Vec<Change> =
        bits(Sender::Recipient, said.recipient.len()).chain(bits(Sender::Donor, said.donor.len())).collect();
    let (next, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some(change) = changes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (answer, _) = ask_through(*change, &peering, sidecar.address);
                    must_be_refused(*change, &answer);
                    if matches!(&answer, Err(Silence::Refused(no)) if no.refusal.why == Why::Unauthorised) {
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    // Changes that leave the messages readable are distinguished from the others.
    let refused = refused.into_inner();
    assert!(refused > 500, "only {refused} of {} changes were answered", changes.len());
    assert!(ask(&peering, sidecar.address).is_ok());
    sidecar.is_unharmed();
}

/// Each is a meaningful word, and the JSON stays valid.
#[test]
fn a_changed_word_breaks_a_handshake() {
    let (mut sidecar, peering) = (Sidecar::start("mysql-0"), peering());
    for (from, old, new) in [
        (Sender::Recipient, r#""wants":"report""#, r#""wants":"clone" "#),
        (Sender::Recipient, r#""ordinal":1"#, r#""ordinal":2"#),
        (Sender::Recipient, r#""set":"mysql""#, r#""set":"other""#),
        (Sender::Donor, r#""has_data":false"#, r#""has_data":true "#),
        (Sender::Donor, r#""pod":"mysql-0""#, r#""pod":"mysql-1""#),
        (Sender::Donor, r#""proof":true"#, r#""proof":null"#),
    ] {
        let change = Change::Word { from, old, new };
        let (answer, said) = ask_through(change, &peering, sidecar.address);
        let spoken =
            String::from_utf8_lossy(if from == Sender::Donor { &said.donor } else { &said.recipient }).into_owned();
        // After a changed word the recipient may skip the rest.
        assert!(spoken.contains(old), "{old} was not said: {spoken}");
        must_be_refused(change, &answer);
    }
    sidecar.is_unharmed();
}

/// The donor's answer to recorded bytes.
fn replayed(recorded: &[u8], donor: SocketAddr) -> Vec<u8> {
    let mut stream = connect_to(donor);
    stream.write_all(recorded).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

/// The last message, and whether a challenge preceded it.
fn last_message(mut answer: &[u8]) -> (Kind, Vec<u8>) {
    preface::receive(&mut answer).unwrap();
    let mut last = None;
    while let Ok(header) = frame::read_header(&mut answer) {
        last = Some((header.kind, frame::read_body(&mut answer, header).unwrap()));
    }
    last.unwrap()
}

#[test]
fn donors_and_recipients_refuse_replayed_messages() {
    let (mut one, mut other, peering) = (Sidecar::start("mysql-0"), Sidecar::start("mysql-2"), peering());
    let (answer, said) = ask_through(Change::Nothing, &peering, one.address);
    assert!(answer.is_ok());
    assert_eq!(last_message(&said.donor).0, Kind::Proof, "the recording is of a whole handshake");
    for donor in [one.address, other.address] {
        let (kind, body) = last_message(&replayed(&said.recipient, donor));
        let refusal: Refusal = frame::parse(kind, &body).unwrap();
        assert_eq!((kind, refusal.why), (Kind::Refusal, Why::Unauthorised));
    }
    // The donor's messages, replayed to another recipient with the same request.
    let listener = TcpListener::bind((own_address(), 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let answers = said.donor.clone();
    let donor = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        stream.write_all(&answers).unwrap();
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    match ask(&peering, address) {
        Err(Silence::Unacceptable(why)) => assert!(why.contains("does not know the clone secret"), "{why}"),
        other => panic!("{other:?}"),
    }
    donor.join().unwrap();
    one.is_unharmed();
    other.is_unharmed();
}

/// This peer echoes every byte.
#[test]
fn an_echo_is_no_donor() {
    let listener = TcpListener::bind((own_address(), 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let echo = std::thread::spawn(move || {
        let stream = listener.accept().unwrap().0;
        pass(Sender::Recipient, Change::Nothing, stream.try_clone().unwrap(), stream);
    });
    match ask(&peering(), address) {
        Err(Silence::Unacceptable(why)) => assert!(why.contains("Hello message where a Challenge belongs"), "{why}"),
        other => panic!("{other:?}"),
    }
    echo.join().unwrap();
}

/// An attacker without the secret uses the donor to make proofs: it opens two sessions, and feeds one with the other's
/// messages.
#[test]
fn a_donor_is_no_oracle_for_another_session() {
    let (mut sidecar, peering) = (Sidecar::start("mysql-0"), peering());
    let (_, said) = ask_through(Change::Nothing, &peering, sidecar.address);
    let mut recorded = said.recipient.as_slice();
    preface::receive(&mut recorded).unwrap();
    let header = frame::read_header(&mut recorded).unwrap();
    let hello = frame::read_body(&mut recorded, header).unwrap();
    let greeting =
        [&said.recipient[..preface::LENGTH], &frame::header_bytes(Kind::Hello, hello.len()), &hello].concat();
    let proof_of_donor = last_message(&said.donor).1;
    let begin = || {
        let mut stream = connect_to(sidecar.address);
        stream.write_all(&greeting).unwrap();
        preface::receive(&mut stream).unwrap();
        let header = frame::read_header(&mut stream).unwrap();
        let challenge = frame::read_body(&mut stream, header).unwrap();
        (stream, challenge)
    };
    let say = |mut stream: &TcpStream, body: &[u8]| {
        stream.write_all(&[&frame::header_bytes(Kind::Proof, body.len()), body].concat()).unwrap();
        let header = frame::read_header(&mut stream).unwrap();
        let refusal: Refusal = frame::parse(header.kind, &frame::read_body(&mut stream, header).unwrap()).unwrap();
        assert_eq!(refusal.why, Why::Unauthorised);
        // An unproven refusal contains no proof.
        assert!(frame::read_header(&mut stream).is_err());
    };
    let ((first, one), (second, another)) = (begin(), begin());
    assert_ne!(one, another);
    // A former proof of the donor; and the other session's challenge, returned as if it were a proof.
    say(&first, &proof_of_donor);
    let nonce = serde_json::from_slice::<serde_json::Value>(&one).unwrap()["nonce"].clone();
    say(&second, serde_json::json!({ "hmac": nonce }).to_string().as_bytes());
    sidecar.is_unharmed();
}

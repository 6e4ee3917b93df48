//! A recipient facing faulty or hostile donors.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::handshake::{Limits, ask_within};
use super::*;
use crate::protocol::auth::{Side, Transcript, nonce};
use crate::protocol::clone_secret::CloneSecret;
use crate::protocol::frame::{self, Kind};
use crate::protocol::message::{Challenge, Hello, Proof, Why};
use crate::protocol::preface;
use crate::settings::{Method, WireCompression};
use crate::sys::secret::Secret;
use crate::unpack::Format;

const SECRET: &str = "geheim-und-sehr-lang";

const FORMATS: [Format; 1] = [Format::XbstreamMariaDb];

/// A donor's end of one connection.
struct Donor {
    stream: TcpStream,
    said: Transcript,
}

impl Donor {
    /// Reads the greeting and announces these versions.
    fn greet(&mut self, highest: u16, lowest: u16) -> Hello {
        let theirs = preface::receive(&mut self.stream).unwrap();
        let versions = [highest.to_le_bytes(), lowest.to_le_bytes()].concat();
        let own = [b"MYSQLSET", versions.as_slice()].concat();
        self.said = Transcript::begin(theirs, preface::receive(&mut own.as_slice()).unwrap());
        let hello = self.hear(Kind::Hello);
        self.stream.write_all(&own).unwrap();
        hello
    }

    fn hear<T: DeserializeOwned>(&mut self, kind: Kind) -> T {
        let header = frame::read_header(&mut self.stream).unwrap();
        assert_eq!(header.kind, kind);
        let body = frame::read_body(&mut self.stream, header).unwrap();
        self.said.add(&frame::header_bytes(kind, body.len()));
        self.said.add(&body);
        frame::parse(kind, &body).unwrap()
    }

    /// Sends a message. The recipient may already be gone.
    fn say(&mut self, kind: Kind, message: &impl Serialize) {
        let sent = frame::write_control(&mut self.stream, kind, message);
        self.said.add(&sent.unwrap_or_default());
    }

    fn challenge(&mut self, proof: bool) {
        self.say(Kind::Challenge, &Challenge { nonce: nonce().unwrap(), proof });
    }

    /// All messages before an offer, when there is no secret.
    fn welcome(&mut self) {
        self.greet(1, 1);
        self.challenge(false);
    }
}

fn offer() -> Value {
    json!({ "pod": "mysql-0", "ordinal": 0, "format": "xbstream-mariadb", "inventory": "tables-1", "tool": "", "server": "",
        "heartbeat_seconds": 5 })
}

/// The recipient's verdict on a donor: `None` if it accepts the offer.
fn asked(limits: Limits, secret: Option<&str>, donor: impl FnOnce(&mut Donor) + Send) -> Option<Silence> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = HostPort { host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() };
    let peering = peering(secret);
    let asker = Asker {
        member: &Member { set: "mysql".into(), ordinal: Ordinal(1) },
        peering: &peering,
        wants: Wants::Clone,
        formats: &FORMATS,
        site: Site::default(),
        set_id: None,
        takes_unproven: false,
    };
    std::thread::scope(|scope| {
        let donating = scope.spawn(move || {
            let stream = listener.accept().unwrap().0;
            donor(&mut Donor { stream, said: Transcript::begin(preface::OWN, preface::OWN) });
        });
        let answer = ask_within(limits, &asker, &address);
        donating.join().unwrap();
        answer.err()
    })
}

/// A name server that is behind leads to a pod that now has the primary's address.
#[test]
fn another_pods_report_is_not_the_primarys() {
    let asked = |ordinal: u32| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let primary = HostPort { host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() };
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut donor =
                    Donor { stream: listener.accept().unwrap().0, said: Transcript::begin(preface::OWN, preface::OWN) };
                donor.welcome();
                let report = json!({ "pod": format!("mysql-{ordinal}"), "ordinal": ordinal, "has_data": true });
                donor.say(Kind::Report, &report);
            });
            let member = Member { set: "mysql".into(), ordinal: Ordinal(1) };
            ask_primary(&member, &peering(None), &primary, &Questions::default())
        })
    };
    assert_eq!(asked(0).unwrap().pod, "mysql-0");
    assert!(asked(2).unwrap_err().to_string().contains("leads to mysql-2"));
}

fn peering(secret: Option<&str>) -> Peering {
    Peering {
        secret: secret.map(CloneSecret::fixed),
        stall_timeout: Duration::from_secs(30),
        wire_compression: WireCompression::Off,
        method: Method::Auto,
    }
}

fn seconds(challenge: u64, all: u64) -> Limits {
    Limits { challenge: Duration::from_secs(challenge), all: Duration::from_secs(all) }
}

#[track_caller]
fn must_not_take(secret: Option<&str>, says: &str, donor: impl FnOnce(&mut Donor) + Send) {
    match asked(seconds(60, 60), secret, donor) {
        Some(Silence::Unacceptable(why)) => assert!(why.contains(says), "{why}"),
        other => panic!("{other:?}"),
    }
}

/// Worthless proofs: a hash of nothing, another secret's, the recipient's own proof, a proof of another offer.
#[test]
fn a_donor_that_cannot_prove_the_secret_is_rejected() {
    type Forge = fn(&Donor, &Proof) -> String;
    let secret = || Secret::new(SECRET);
    let right: Forge = |donor, _| donor.said.prove(&Secret::new(SECRET), Side::Donor);
    let forged: [Forge; 4] = [
        |_, _| "00".repeat(32),
        |donor, _| donor.said.prove(&Secret::new("another"), Side::Donor),
        |_, theirs| theirs.hmac.clone(),
        |donor, _| {
            let mut said = donor.said.clone();
            said.add(b"x");
            said.prove(&Secret::new(SECRET), Side::Donor)
        },
    ];
    let offering = |forge: Forge| {
        move |donor: &mut Donor| {
            donor.greet(1, 1);
            donor.challenge(true);
            let before = donor.said.clone();
            let theirs: Proof = donor.hear(Kind::Proof);
            assert!(before.verify(&secret(), Side::Recipient, &theirs.hmac));
            donor.say(Kind::Offer, &offer());
            let hmac = forge(donor, &theirs);
            donor.say(Kind::Proof, &Proof { hmac });
        }
    };
    assert!(asked(seconds(60, 60), Some(SECRET), offering(right)).is_none());
    for forge in forged {
        must_not_take(Some(SECRET), "does not know the clone secret", offering(forge));
    }
    must_not_take(Some(SECRET), "it did not ask for it", |donor| {
        donor.welcome();
        donor.say(Kind::Offer, &offer());
    });
    must_not_take(None, "the donor asks for a clone secret", |donor| {
        donor.greet(1, 1);
        donor.challenge(true);
    });
}

/// The primary-loss check believes only a proven refusal; a clone's recipient reports any.
#[test]
fn only_a_proof_after_it_proves_a_refusal() {
    type Ending = fn(&mut Donor);
    let prove: Ending = |donor| {
        let hmac = donor.said.prove(&Secret::new(SECRET), Side::Donor);
        donor.say(Kind::Proof, &Proof { hmac });
    };
    let endings: [(Ending, bool); 4] = [
        (prove, true),
        (|_| {}, false),
        (|donor| donor.say(Kind::Proof, &Proof { hmac: "00".repeat(32) }), false),
        (|donor| donor.say(Kind::Report, &json!({})), false),
    ];
    let refusal = || json!({ "why": "wrong-set", "text": "another" });
    for (ending, expected) in endings {
        let told = asked(seconds(60, 60), Some(SECRET), |donor| {
            donor.greet(1, 1);
            donor.challenge(true);
            donor.hear::<Proof>(Kind::Proof);
            donor.say(Kind::Refusal, &refusal());
            ending(donor);
        });
        let Some(Silence::Refused(Refused { refusal, is_proven })) = told else { panic!("{told:?}") };
        assert_eq!((refusal.why, is_proven), (Why::WrongSet, expected));
    }
    // A refusal instead of the challenge is always unproven, as is one in a set that has no secret.
    for (secret, challenges) in [(Some(SECRET), false), (None, false), (None, true)] {
        let told = asked(seconds(60, 60), secret, |donor| {
            donor.greet(1, 1);
            if challenges {
                donor.challenge(false);
            }
            donor.say(Kind::Refusal, &refusal());
            prove(donor);
        });
        let Some(Silence::Refused(Refused { is_proven: false, .. })) = told else { panic!("{told:?}") };
    }
}

#[test]
fn unrequested_offers_are_rejected() {
    let offering = |member: &'static str, value: &'static str| {
        move |donor: &mut Donor| {
            donor.welcome();
            let mut offer = offer();
            offer[member] = value.into();
            donor.say(Kind::Offer, &offer);
        }
    };
    assert!(asked(seconds(60, 60), None, offering("digest", "heads")).is_none());
    for (member, value, says) in [
        ("format", "tar", "the donor sends tar, which was not asked for"),
        ("format", "xbstream-percona", "the donor sends xbstream-percona, which was not asked for"),
        ("packing", "zstd", "compresses its stream with zstd, which was not asked for"),
        ("format", "cpio", "makes no sense"),
        ("digest", "nothing", "makes no sense"),
        ("inventory", "tables-2", "an inventory encoded as tables-2, which was not asked for"),
    ] {
        must_not_take(None, says, offering(member, value));
    }
    must_not_take(None, "sends no inventory of its tables", |donor| {
        donor.welcome();
        let mut offer = offer();
        offer.as_object_mut().unwrap().remove("inventory");
        donor.say(Kind::Offer, &offer);
    });
    must_not_take(None, "by the CLONE plugin, unasked", |donor| {
        donor.welcome();
        let offer = json!({
            "pod": "mysql-0", "ordinal": 0, "server_port": 3306, "user": "", "server": "", "by_gtid": true, "settings": {},
            "libraries": [], "heartbeat_seconds": 5
        });
        donor.say(Kind::PluginOffer, &offer);
    });
    must_not_take(None, "a Report message where a Offer belongs", |donor| {
        donor.welcome();
        donor.say(Kind::Report, &json!({}));
    });
}

#[test]
fn a_donor_of_other_versions_is_final() {
    for (highest, lowest) in [(9, 8), (0, 0)] {
        let says = format!("the peer speaks versions {lowest} to {highest}");
        must_not_take(None, &says, |donor| {
            donor.greet(highest, lowest);
            donor.challenge(false);
            donor.say(Kind::Offer, &offer());
        });
    }
    assert!(
        asked(seconds(60, 60), None, |donor| {
            donor.greet(9, 1);
            donor.challenge(false);
            donor.say(Kind::Offer, &offer());
        })
        .is_none()
    );
}

/// A digest of the heads lets the donor move data unseen.
#[test]
fn each_hello_lists_the_capabilities_with_a_fresh_nonce() {
    let mut hellos = Vec::new();
    for _ in 0..2 {
        let mut hello = None;
        assert!(asked(seconds(60, 60), None, |donor| hello = Some(donor.greet(1, 1))).is_some());
        hellos.extend(hello);
    }
    for hello in &hellos {
        assert_eq!((hello.pod().as_str(), hello.wants), ("mysql-1", Wants::Clone));
        assert_eq!((&hello.formats[..], &hello.digests[..]), (&["xbstream-mariadb".into()][..], &["heads".into()][..]));
        assert!(hello.packing.is_empty());
        assert_eq!((&hello.inventory[..], hello.nonce.len()), (&["tables-1".into()][..], 64));
    }
    assert_ne!(hellos[0].nonce, hellos[1].nonce);
}

#[test]
fn a_donor_has_more_time_for_the_offer_than_for_the_challenge() {
    let after = |pause: Duration| {
        move |donor: &mut Donor| {
            donor.welcome();
            std::thread::sleep(pause);
            donor.say(Kind::Offer, &offer());
        }
    };
    assert!(asked(seconds(3, 60), None, after(Duration::from_millis(3200))).is_none());
    let given_up = asked(seconds(60, 1), None, after(Duration::from_millis(1200)));
    assert!(matches!(given_up, Some(Silence::Mute(_))), "{given_up:?}");
}

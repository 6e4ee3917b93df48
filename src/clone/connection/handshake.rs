//! Asks a donor, from connecting to its answer. The protocol's half is [`crate::protocol::handshake::recipient`].

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::asking::{Asker, Place, Questions, Silence};
use super::connecting::{CONNECT_LIMIT, connect};
use crate::model::host::HostPort;
use crate::model::ordinal::Member;
use crate::protocol::auth;
use crate::protocol::clone_secret::{CloneSecret, Keys};
use crate::protocol::data::DataReader;
use crate::protocol::digest::Coverage;
use crate::protocol::frame::{Frame, Kind, WireError};
use crate::protocol::handshake::recipient::{self, Step};
use crate::protocol::inventory::encoding;
use crate::protocol::message::{Hello, Offer, PluginOffer, Report, Wants};
use crate::protocol::packing::ZSTD;
use crate::protocol::preface;
use crate::settings::Peering;
use crate::settings::WireCompression;
use crate::sys::deadline::DeadlineReader;
use crate::unpack::Format;

/// Time until the challenge, which a donor sends at once.
const CHALLENGE_LIMIT: Duration = Duration::from_secs(20);

/// Time until the offer. Before it the donor asks its server, scans each of its files (very many, on a slow volume) and
/// starts the backup tool.
const OFFER_LIMIT: Duration = Duration::from_secs(80);

/// Longest announced silence that counts, in seconds.
const LONGEST_SILENCE: u64 = 60;

/// A donor's offer of a stream, and the stream.
pub struct Incoming {
    pub offer: Offer,
    pub data: DataReader<TcpStream>,
}

/// A donor's offer of a copy by the plugin, valid while the connection lasts.
pub struct Lease {
    pub offer: PluginOffer,
    pub stream: TcpStream,
}

/// A donor's offer.
pub enum Answer {
    Stream(Box<Incoming>),
    Plugin(Box<Lease>),
}

/// Connects, proves the secret, verifies the donor's proof, and returns its offer with the data that follows.
pub fn ask_for_clone(asker: &Asker<'_>, donor: &HostPort) -> Result<Answer, Silence> {
    ask_within(Limits { challenge: CHALLENGE_LIMIT, all: OFFER_LIMIT }, asker, donor)
}

pub(in crate::clone) fn ask_within(limits: Limits, asker: &Asker<'_>, donor: &HostPort) -> Result<Answer, Silence> {
    let stream = connect(&Place::Name(donor.clone()), CONNECT_LIMIT)?;
    let stall = asker.peering.stall_timeout;
    let _ = stream.set_nodelay(true);
    let _ = stream.set_write_timeout(Some(stall));
    let hello = hello(asker, &Questions::default())?;
    let answered = converse(asker, hello, &stream, &[Kind::Offer, Kind::PluginOffer], limits)?;
    if answered.kind == Kind::PluginOffer {
        if asker.site.plugin_server.is_none() {
            return Err(Silence::Unacceptable("the donor offers a copy by the CLONE plugin, unasked".into()));
        }
        let offer: PluginOffer = answered.parse()?;
        check_pod(asker.member, donor, &offer.pod, offer.ordinal)?;
        check_inventory(offer.inventory.as_deref()).map_err(Silence::Unacceptable)?;
        set_patience(&stream, patience(stall, offer.heartbeat_seconds))?;
        return Ok(Answer::Plugin(Box::new(Lease { offer, stream })));
    }
    let offer: Offer = answered.parse()?;
    check_pod(asker.member, donor, &offer.pod, offer.ordinal)?;
    check_offer(&offer, asker.formats, &packings(asker.peering)).map_err(Silence::Unacceptable)?;
    set_patience(&stream, patience(stall, offer.heartbeat_seconds))?;
    let mut data = DataReader::covering(offer.digest, stream);
    if offer.packing.is_some() {
        data = data.allow_packed().map_err(|error| Silence::Fatal(error.into()))?;
    }
    Ok(Answer::Stream(Box::new(Incoming { offer, data })))
}

/// How long a donor may stay silent: at least twice its announced heartbeat, so that a late one is tolerated.
fn patience(stall: Duration, heartbeat_seconds: u64) -> Duration {
    stall.max(2 * Duration::from_secs(heartbeat_seconds.min(LONGEST_SILENCE)))
}

fn set_patience(stream: &TcpStream, patience: Duration) -> Result<(), Silence> {
    stream.set_read_timeout(Some(patience)).map_err(|error| Silence::Unreachable(error.to_string()))
}

/// Rejects an answer from another pod of the set than the one that was named. A name server that is behind, or lies,
/// may lead there.
pub(in crate::clone) fn check_pod(asker: &Member, asked: &HostPort, pod: &str, ordinal: u32) -> Result<(), Silence> {
    match Member::from_hostname(&asked.host) {
        Ok(named) if named.set == asker.set && (named.to_string() != pod || named.ordinal.0 != ordinal) => {
            Err(Silence::Mute(format!("the name {named} leads to another pod, {pod}")))
        }
        _ => Ok(()),
    }
}

/// Rejects an offer of things that the recipient did not request.
fn check_offer(offer: &Offer, formats: &[Format], packings: &[String]) -> Result<(), String> {
    if !formats.contains(&offer.format) {
        return Err(format!("the donor sends {}, which was not asked for", offer.format));
    }
    check_inventory(offer.inventory.as_deref())?;
    if let Some(packing) = &offer.packing
        && !packings.contains(packing)
    {
        return Err(format!("the donor compresses its stream with {packing}, which was not asked for"));
    }
    Ok(())
}

/// Requires an inventory, which proves the copy. Donors of this version and later send one.
fn check_inventory(encoding: Option<&str>) -> Result<(), String> {
    match encoding {
        Some(encoding::NAME) => Ok(()),
        Some(other) => Err(format!("the donor sends an inventory encoded as {other}, which was not asked for")),
        None => {
            Err("the donor sends no inventory of its tables, so its copy could not be proven complete: upgrade the donor's \
                     sidecar to this version of mysqlset"
                .to_owned())
        }
    }
}

/// The frame compressions that this recipient accepts.
fn packings(peering: &Peering) -> Vec<String> {
    let is_wanted = peering.wire_compression != WireCompression::Off;
    is_wanted.then(|| ZSTD.to_owned()).into_iter().collect()
}

/// Asks for a report. All of it must arrive within `limit`, or twice that if a name has to be resolved.
pub fn ask_for_report(
    asker: &Asker<'_>,
    place: &Place,
    questions: &Questions,
    limit: Duration,
) -> Result<Report, Silence> {
    let stream = connect(place, limit)?;
    let _ = stream.set_nodelay(true);
    let _ = stream.set_write_timeout(Some(limit));
    let hello = hello(asker, questions)?;
    Ok(converse(asker, hello, &stream, &[Kind::Report], Limits { challenge: limit, all: limit })?.parse()?)
}

/// Time until the challenge, and until the whole answer.
pub(in crate::clone) struct Limits {
    pub challenge: Duration,
    pub all: Duration,
}

/// The whole handshake, up to an answer of one of these kinds.
fn converse(
    asker: &Asker<'_>,
    hello: Hello,
    mut stream: &TcpStream,
    answers: &[Kind],
    limits: Limits,
) -> Result<Frame, Silence> {
    let begun = Instant::now();
    let mut input = DeadlineReader::new(stream, begun + limits.challenge);
    let mut send = |bytes: &[u8]| stream.write_all(bytes).map_err(WireError::Io);
    let (awaits_preface, first) = recipient::begin(&hello)?;
    send(&first)?;
    let awaits_challenge = awaits_preface.preface(preface::receive(&mut input)?)?;
    let challenge = Frame::read(&mut input)?;
    let keys = asker.peering.secret.as_ref().map(CloneSecret::now);
    let (awaits_answer, proof) = awaits_challenge.challenge(&challenge, keys.as_ref().map(Keys::own))?;
    send(&proof)?;
    let mut input = DeadlineReader::new(stream, begun + limits.all);
    match awaits_answer.answer(Frame::read(&mut input)?, answers)? {
        Step::Done(answer) => Ok(answer),
        Step::AwaitsProof(awaits_proof) => Ok(awaits_proof.proof(Frame::read(&mut input))?),
    }
}

fn hello(asker: &Asker<'_>, questions: &Questions) -> Result<Hello, Silence> {
    Ok(Hello {
        set: asker.member.set.clone(),
        ordinal: asker.member.ordinal.0,
        nonce: auth::nonce().map_err(Silence::Fatal)?,
        formats: asker.formats.iter().map(ToString::to_string).collect(),
        set_id: asker.set_id.clone(),
        tool_series: asker.site.tool_series.clone(),
        plugin_server: asker.site.plugin_server.clone(),
        free_bytes: asker.site.free_bytes,
        page_size: asker.site.page_size,
        lower_case_table_names: asker.site.lower_case_table_names,
        keyring: asker.site.keyring,
        packing: packings(asker.peering),
        digests: Coverage::BESIDE_WHOLE.map(|coverage| coverage.into_str().to_owned()).to_vec(),
        inventory: if asker.wants == Wants::Report { Vec::new() } else { vec![encoding::NAME.to_owned()] },
        wants: asker.wants,
        about: questions.about.clone(),
        history: questions.history.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_donor_may_be_silent_for_twice_its_announced_heartbeat() {
        let seconds = |stall, heartbeat| patience(Duration::from_secs(stall), heartbeat).as_secs();
        assert_eq!((seconds(30, 5), seconds(3, 5), seconds(30, 20)), (30, 10, 40));
        assert_eq!((seconds(1, 0), seconds(1, u64::MAX)), (1, 120));
    }

    #[test]
    fn an_offer_from_another_pod_is_rejected() {
        let asker = Member::from_hostname("mysql-2").unwrap();
        let is_taken = |host: &str, pod: &str, ordinal| {
            let asked = HostPort { host: host.to_owned(), port: 3307 };
            check_pod(&asker, &asked, pod, ordinal).is_ok()
        };
        assert!(is_taken("mysql-1.mysql", "mysql-1", 1));
        assert!(!is_taken("mysql-1.mysql", "mysql-0", 0));
        assert!(!is_taken("mysql-1.mysql.default.svc.cluster.local", "mysql-0", 0));
        assert!(!is_taken("mysql-1.mysql", "mysql-1", 0));
        assert!(!is_taken("mysql-1.mysql", "other-1", 1));
        // Names that identify no pod of this set.
        for host in ["10.0.0.7", "mysql-read", "backups", "other-1.other"] {
            assert!(is_taken(host, "mysql-1", 1), "{host}");
        }
    }

    #[test]
    fn an_offer_of_unrequested_things_is_rejected() {
        let offer = |format: &str, more: &str| -> Offer {
            let rest =
                r#""pod":"mysql-0","ordinal":0,"inventory":"tables-1","tool":"","server":"","heartbeat_seconds":5"#;
            serde_json::from_str(&format!(r#"{{{rest},"format":"{format}"{more}}}"#)).unwrap()
        };
        let formats = [Format::XbstreamPercona];
        assert_eq!(check_offer(&offer("xbstream-percona", ""), &formats, &[]), Ok(()));
        let packed = offer("xbstream-percona", r#","packing":"zstd""#);
        assert!(check_offer(&packed, &formats, &[]).unwrap_err().contains("compresses its stream with zstd"));
        assert_eq!(check_offer(&packed, &formats, &[ZSTD.to_owned()]), Ok(()));
        assert!(check_offer(&offer("xbstream-mariadb", ""), &formats, &[]).unwrap_err().contains("xbstream-mariadb"));
    }
}

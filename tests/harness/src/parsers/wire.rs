//! Preface, messages and frames.

use std::io::Read;

use mysqlset::protocol::auth::{Side, Transcript};
use mysqlset::protocol::data::DataReader;
use mysqlset::protocol::frame::{self, CONTROL_LIMIT, DATA_LIMIT, HEADER_LENGTH, Kind, WireError};
use mysqlset::protocol::inventory::encoding;
use mysqlset::protocol::message::{
    Challenge, Copied, End, Failed, Heartbeat, Hello, Offer, PluginOffer, Proof, Refusal, Report,
};
use mysqlset::protocol::preface::OWN;
use mysqlset::sys::secret::Secret;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use xxhash_rust::xxh3::xxh3_128;

use super::memory;

/// For a message of [`CONTROL_LIMIT`] bytes and its parsed form.
const MESSAGE_MEMORY: usize = 4 << 20;

/// A frame of [`DATA_LIMIT`] bytes needs none: the reader brings the buffer.
const FRAME_MEMORY: usize = 1 << 20;

/// A valid preface is accepted, and yields the version that both ends speak.
pub fn preface(data: &[u8]) {
    let mut rest = data;
    match memory::within(4096, || mysqlset::protocol::preface::receive(&mut rest)) {
        Ok(peer) => {
            assert_eq!(data.len() - rest.len(), 12);
            let mut own = Vec::new();
            mysqlset::protocol::preface::send(&mut own).unwrap();
            assert_eq!(data[..8], own[..8]);
            let versions = |of: &[u8]| (u16::from_le_bytes([of[8], of[9]]), u16::from_le_bytes([of[10], of[11]]));
            let ((highest, lowest), (our_highest, our_lowest)) = (versions(data), versions(&own));
            let common = highest.min(our_highest);
            assert_eq!(peer.common_version().ok(), (common >= lowest.max(our_lowest)).then_some(common));
        }
        Err(WireError::Ended(_)) => assert!(data.len() < 12),
        Err(WireError::Legacy) => assert!(data.len() >= 12 && data.starts_with(b"XBSTCK01")),
        Err(WireError::Malformed(_)) => {
            assert!(data.len() >= 12 && !data.starts_with(b"MYSQLSET") && !data.starts_with(b"XBSTCK01"));
        }
        Err(WireError::Io(error) | WireError::Inventory(error)) => panic!("{error}"),
    }
}

/// A kind, and the body of such a message. An understood message is sent on unchanged.
pub fn messages(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else { return };
    let mut bytes = [&frame::header_bytes(Kind::Data, body.len()), body].concat();
    bytes[0] = *kind;
    let mut rest = bytes.as_slice();
    let Ok(header) = frame::read_header(&mut rest) else {
        assert!(body.is_empty() || body.len() > CONTROL_LIMIT || !b"HCPOQKRADZBEFI".contains(kind));
        return;
    };
    let Ok(body) = frame::read_body(&mut rest, header) else {
        assert!(matches!(header.kind, Kind::Data | Kind::Packed));
        return;
    };
    assert!(rest.is_empty() && body.len() <= CONTROL_LIMIT);
    memory::within(MESSAGE_MEMORY, || match header.kind {
        Kind::Hello => drop(understood::<Hello>(Kind::Hello, &body)),
        Kind::Challenge => drop(understood::<Challenge>(Kind::Challenge, &body)),
        Kind::Proof => drop(understood::<Proof>(Kind::Proof, &body).map(check_proof)),
        Kind::Offer => drop(understood::<Offer>(Kind::Offer, &body)),
        Kind::PluginOffer => drop(understood::<PluginOffer>(Kind::PluginOffer, &body)),
        Kind::Copied => drop(understood::<Copied>(Kind::Copied, &body)),
        Kind::Refusal => drop(understood::<Refusal>(Kind::Refusal, &body)),
        Kind::Report => drop(understood::<Report>(Kind::Report, &body)),
        Kind::Heartbeat => drop(understood::<Heartbeat>(Kind::Heartbeat, &body)),
        Kind::End => drop(understood::<End>(Kind::End, &body)),
        Kind::Failed => drop(understood::<Failed>(Kind::Failed, &body)),
        Kind::Inventory => inventory(&body),
        Kind::Data | Kind::Packed => unreachable!("it has no message"),
    });
}

/// An understood inventory is encoded in the same bytes.
fn inventory(body: &[u8]) {
    if let Ok(inventory) = encoding::decode(body) {
        assert_eq!(encoding::encode(&inventory).as_deref(), Ok(body));
    }
}

fn understood<T: Serialize + DeserializeOwned>(kind: Kind, body: &[u8]) -> Option<T> {
    let message: T = frame::parse(kind, body).ok()?;
    let mut sent = Vec::new();
    if frame::write_control(&mut sent, kind, &message).is_err() {
        // Names of members that a peer may omit are sent.
        assert!(body.len() + 1024 > CONTROL_LIMIT);
        return Some(message);
    }
    let again: T = frame::parse(kind, &sent[HEADER_LENGTH..]).unwrap();
    let mut sent_again = Vec::new();
    frame::write_control(&mut sent_again, kind, &again).unwrap();
    assert_eq!(sent, sent_again);
    must_be_fit_for_a_log(&serde_json::from_slice(&sent[HEADER_LENGTH..]).unwrap());
    Some(message)
}

/// The members that people read.
const TEXTS: [&str; 6] = ["pod", "tool", "server", "text", "cannot_follow", "unknown_history"];

fn must_be_fit_for_a_log(message: &serde_json::Value) {
    for text in TEXTS.iter().filter_map(|name| message.get(name)?.as_str()) {
        assert!(!text.contains(char::is_control) && text.chars().count() <= 1000, "{text:?}");
    }
}

fn check_proof(proof: Proof) {
    let secret = Secret::new("secret");
    for side in [Side::Recipient, Side::Donor] {
        let said = || Transcript::begin(OWN, OWN);
        let right = said().prove(&secret, side);
        let proven = said().verify(&secret, side, &proof.hmac);
        assert_eq!(proven, right.eq_ignore_ascii_case(&proof.hmac));
    }
}

/// A backup comes out of its frames only if each frame is sound and the end mark is true. A true end mark after the
/// sound frames lets it come out. A cut or a flipped bit prevents it.
pub fn frames(data: &[u8]) {
    check_frames(data, false);
}

/// The same where packed frames are allowed.
pub fn packed_frames(data: &[u8]) {
    check_frames(data, true);
}

fn check_frames(data: &[u8], packed: bool) {
    let sound = sound_frames(data, packed);
    // The content of packed frames is far longer than they are, and is kept here.
    let memory = FRAME_MEMORY + data.len() + if packed { 2 * DATA_LIMIT + 4 * sound.content.len() } else { 0 };
    let received = memory::within(memory, || receive(data, packed));
    assert_eq!(received.as_deref(), sound.ended.then_some(sound.content.as_slice()));

    let good = [&data[..sound.length], &end_mark(&sound.content)].concat();
    assert_eq!(receive(&good, packed).as_deref(), Some(sound.content.as_slice()));
    let chance = crc32fast::hash(data) as usize;
    assert_eq!(receive(&good[..chance % good.len()], packed), None);
    if !sound.content.is_empty() {
        let mut damaged = sound.content.clone();
        damaged[chance % sound.content.len()] ^= 1 << (chance % 8);
        assert_eq!(receive(&[&data[..sound.length], &end_mark(&damaged)].concat(), packed), None);
    }
}

/// In pieces whose size depends on the data.
fn receive(data: &[u8], packed: bool) -> Option<Vec<u8>> {
    let reader = DataReader::new(data);
    let mut reader = if packed { reader.allow_packed().unwrap() } else { reader };
    let mut content = Vec::new();
    let mut piece = vec![0; 1 + data.len() % 61];
    loop {
        match reader.read(&mut piece).ok()? {
            0 => break,
            count => content.extend(&piece[..count]),
        }
    }
    let end = reader.finish().ok()?;
    assert_eq!((end.bytes, DataReader::bytes(&reader)), (content.len() as u64, content.len() as u64));
    Some(content)
}

/// Data and heartbeats, up to the first other frame.
struct Sound {
    content: Vec<u8>,
    length: usize,
    /// Whether a true end mark follows.
    ended: bool,
}

fn sound_frames(data: &[u8], packed: bool) -> Sound {
    let mut sound = Sound { content: Vec::new(), length: 0, ended: false };
    while let Some((header, rest)) = data[sound.length..].split_at_checked(HEADER_LENGTH) {
        let length = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let limit = if matches!(header[0], b'D' | b'Z') { DATA_LIMIT } else { CONTROL_LIMIT };
        let Some(body) = rest.get(..length).filter(|_| (1..=limit).contains(&length) && header[1..4] == [0; 3]) else {
            break;
        };
        match header[0] {
            b'D' => sound.content.extend(body),
            b'Z' if packed => match unpacked(body) {
                Some(content) => sound.content.extend(content),
                None => break,
            },
            b'B' if frame::parse::<Heartbeat>(Kind::Heartbeat, body).is_ok() => {}
            b'E' => {
                let told = |end: End| {
                    let digest = format!("{:032x}", xxh3_128(&sound.content));
                    let is_of_stream = end.bytes == sound.content.len() as u64 && end.digest == digest;
                    // No inventory was offered.
                    is_of_stream && end.tool_status == 0 && end.inventory.is_none()
                };
                sound.ended = frame::parse::<End>(Kind::End, body).is_ok_and(told);
                break;
            }
            _ => break,
        }
        sound.length += HEADER_LENGTH + length;
    }
    sound
}

/// A length, and a zstd frame with a content of that length.
fn unpacked(body: &[u8]) -> Option<Vec<u8>> {
    let (length, packed) = body.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    if length == 0 || length > DATA_LIMIT {
        return None;
    }
    zstd::bulk::decompress(packed, length).ok().filter(|content| content.len() == length)
}

/// The end mark that a donor would send after this content.
fn end_mark(content: &[u8]) -> Vec<u8> {
    let digest = format!("{:032x}", xxh3_128(content));
    let end = json!({ "bytes": content.len(), "digest": digest, "tool_status": 0 });
    frame::write_control(&mut Vec::new(), Kind::End, &end).unwrap()
}

//! Version 1 on the wire, byte by byte. A failure here means that a peer of an earlier release would be
//! misunderstood. Extend these tests, and leave the existing ones unchanged.

use std::io::Read;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, from_str, to_value};

use super::auth::{Side, Transcript, password_of_plugin};
use super::data::{DataReader, DataWriter};
use super::digest::Coverage;
use super::frame::{self, Kind};
use super::message::{
    Challenge, Copied, End, Failed, Heartbeat, Hello, Offer, PluginOffer, Proof, Refusal, Report, Wants, Why,
};
use super::preface;
use crate::sys::secret::Secret;

/// Parses a message with all its members, and writes it back unchanged.
fn is_kept<T: Serialize + DeserializeOwned>(json: &str) {
    let read: T = from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"));
    assert_eq!(to_value(&read).unwrap(), from_str::<Value>(json).unwrap());
}

#[test]
fn messages_keep_their_members() {
    is_kept::<Hello>(
        r#"{"set":"mysql","ordinal":1,"nonce":"00ff","formats":["xbstream-percona","xbstream-mariadb","tar"],
        "set_id":"00112233445566778899aabbccddeeff","tool_series":"10.11","free_bytes":1,
        "plugin_server":"8.4.3","page_size":16384,"lower_case_table_names":1,"keyring":true,"digests":["heads"],"packing":["zstd"],
        "inventory":["tables-1"],"wants":"report","about":{"by":"mariadb-gtid","slave_pos":"0-100-7"},"history":"0-100-7"}"#,
    );
    is_kept::<Challenge>(r#"{"nonce":"00ff","proof":true}"#);
    is_kept::<Proof>(r#"{"hmac":"00ff"}"#);
    is_kept::<Offer>(
        r#"{"pod":"mysql-0","ordinal":0,"format":"xbstream-percona","digest":"heads",
        "packing":"zstd","expected_bytes":7,"files":3,"inventory":"tables-1","tool":"xtrabackup 8.4.0-1","server":"8.4.3",
        "set_id":"00112233445566778899aabbccddeeff","lineage":{"id":"00112233445566778899aabbccddeeff",
        "began_at":{"by":"mysql-gtid","executed":""}},"heartbeat_seconds":5}"#,
    );
    is_kept::<PluginOffer>(
        r#"{"pod":"mysql-0","ordinal":0,"server_port":3306,"user":"mysqlset_clone","server":"8.4.3","by_gtid":true,
        "settings":{"innodb_page_size":"16384"},"libraries":["mysql_clone.so"],"rate_limit":1048576,"compressed":true,
        "inventory":"tables-1","expected_bytes":7,"set_id":"00112233445566778899aabbccddeeff","lineage":{
        "id":"00112233445566778899aabbccddeeff","began_at":{"by":"binlog-file","file":"b.000001","offset":4}},
        "heartbeat_seconds":5}"#,
    );
    is_kept::<Copied>(r#"{"bytes":7}"#);
    is_kept::<Report>(
        r#"{"pod":"mysql-0","ordinal":0,"set_id":"00112233445566778899aabbccddeeff","lineage":{
        "id":"00112233445566778899aabbccddeeff","began_at":{"by":"mariadb-gtid","slave_pos":""}},"has_data":true,
        "server":"8.4.3","applied":{"by":"mysql-gtid","executed":""},"fetched":{"by":"mysql-gtid","executed":""},
        "cannot_follow":"","unknown_history":""}"#,
    );
    is_kept::<Refusal>(r#"{"why":"busy","event":"donor.refused.busy","text":"x","retry_after":2}"#);
    is_kept::<Heartbeat>(r#"{"bytes":7}"#);
    is_kept::<End>(
        r#"{"bytes":7,"digest":"00ff","tool_status":0,"position":"x","inventory":{"bytes":13,"digest":"00ff"}}"#,
    );
    is_kept::<Failed>(r#"{"text":"x"}"#);
    for why in ["busy", "not-ready", "stopping", "wrong-set", "unauthorised", "unsupported", "no-room"] {
        let known: Why = from_str(&format!("\"{why}\"")).unwrap();
        assert_eq!((known.into_str(), known == Why::Other), (why, false));
    }
    for wants in ["clone", "recovery", "report"] {
        is_kept::<Wants>(&format!("\"{wants}\""));
    }
}

/// Messages of the first release of this version, before any later member existed.
#[test]
fn messages_with_required_members_only_are_read() {
    let hello: Hello = from_str(r#"{"set":"mysql","ordinal":1,"nonce":"00","formats":["tar"]}"#).unwrap();
    assert_eq!((hello.wants, hello.keyring, hello.digests.len(), hello.packing.len()), (Wants::Clone, false, 0, 0));
    assert_eq!(hello.inventory.len(), 0);
    let offer = r#"{"pod":"a-0","ordinal":0,"format":"tar","tool":"","server":"","heartbeat_seconds":5}"#;
    let offer: Offer = from_str(offer).unwrap();
    assert_eq!((offer.digest.into_str(), offer.packing, offer.expected_bytes), ("whole", None, None));
    assert_eq!(offer.inventory, None);
    let end: End = from_str(r#"{"bytes":7,"digest":"00ff","tool_status":0}"#).unwrap();
    assert_eq!(end.inventory, None);
    assert_eq!(from_str::<Refusal>(r#"{"why":"busy","text":""}"#).unwrap().retry_after, None);
    // A request of a later release.
    assert_eq!(from_str::<Wants>("\"something-new\"").unwrap(), Wants::Unknown);
}

/// They are quoted in log lines and refusals.
#[test]
fn texts_of_a_hello_cannot_start_a_new_line() {
    let texts = ["set", "tool_series", "plugin_server"].map(|name| format!(r#""{name}":"a\nb\u001b[2Jc""#)).join(",");
    let lists = ["formats", "digests", "packing", "inventory"].map(|name| format!(r#""{name}":["a\nb"]"#)).join(",");
    let hello: Hello = from_str(&format!(r#"{{"ordinal":1,"nonce":"","wants":"clone",{texts},{lists}}}"#)).unwrap();
    let shown = format!("{} {:?} {:?}", hello.set, hello.tool_series, hello.plugin_server);
    assert!(!shown.contains("\\n") && !shown.contains(char::is_control), "{shown:?}");
    // Errors of serde about an invalid message are one line, too.
    let about = br#"{"set":"a","ordinal":1,"nonce":"","formats":[],"wants":"report","about":{"by":"x\nFORGED"}}"#;
    let error = frame::parse::<Hello>(Kind::Hello, about).unwrap_err().to_string();
    assert!(error.contains("FORGED") && !error.contains('\n'), "{error:?}");
    for list in [&hello.formats, &hello.digests, &hello.packing, &hello.inventory] {
        assert_eq!(list, &["a b"]);
    }
}

/// HMACs and hash from Python's `hmac` and from `xxhsum`.
#[test]
fn the_bytes_are_stable() {
    let mut sent = Vec::new();
    preface::send(&mut sent).unwrap();
    assert_eq!(sent, b"MYSQLSET\x01\0\x01\0");

    let failed = Failed { text: "x".into() };
    assert_eq!(frame::write_control(&mut sent, Kind::Failed, &failed).unwrap(), b"F\0\0\0\x0c\0\0\0{\"text\":\"x\"}");

    let mut stream = Vec::new();
    let mut writer = DataWriter::new(&mut stream);
    writer.gather(b"abc", false).unwrap();
    writer.end(None).unwrap();
    let end = r#"{"bytes":3,"digest":"06b05ab6733a618578af5f94892f3950","tool_status":0}"#;
    let expected = [b"D\0\0\0\x03\0\0\0abcE\0\0\0", &(end.len() as u32).to_le_bytes()[..], end.as_bytes()].concat();
    assert_eq!(String::from_utf8_lossy(&stream), String::from_utf8_lossy(&expected));

    let mut said = Transcript::begin(preface::OWN, preface::OWN);
    said.add(b"hello");
    said.add(b"challenge");
    let secret = Secret::new("geheim");
    for (side, proof) in [
        (Side::Recipient, "3a05bc5711c1795d9459711a35ec0acf199d404e63c78dcfa8b6d41b092ad804"),
        (Side::Donor, "7643aecba97ccb9cd3f092903e6ef04770028f409c6884dd96279e4ed9821d83"),
    ] {
        assert_eq!(said.prove(&secret, side), proof);
    }
    let password = password_of_plugin(Some(&secret), "mysql");
    assert_eq!(password.reveal(), "Aa1!67eadefaaff92bc3078757cfedaf83ccce4817b63016d4b03e44a3318e339ec5");
}

/// The digest from `xxhsum -H2` of the heads, the packed frame from `zstd -1`.
#[test]
fn digests_of_heads_and_packed_frames_are_stable() {
    let mut stream = Vec::new();
    let mut writer = DataWriter::covering(Coverage::Heads, &mut stream);
    for (bytes, has_checksum) in [(b"head", false), (b"data", true), (b"HEAD", false), (b"DATA", true)] {
        writer.gather(bytes, has_checksum).unwrap();
    }
    writer.end(None).unwrap();
    let end = r#"{"bytes":16,"digest":"d8abd03e8561dc0f8da3ecaf1b9ea00b","tool_status":0}"#;
    assert!(stream.ends_with(end.as_bytes()), "{}", String::from_utf8_lossy(&stream));

    let packed = b"\x28\xb5\x2f\xfd\x20\x70\x1d\x01\0\xe0pages much like each other, \x01\0\xc4\x4f\xd3\x09";
    let body = [&112u32.to_le_bytes(), packed.as_slice()].concat();
    let frame = [b"Z\0\0\0", &(body.len() as u32).to_le_bytes()[..], &body].concat();
    let mut reader = DataReader::new(frame.as_slice()).allow_packed().unwrap();
    let mut content = [0; 112];
    reader.read_exact(&mut content).unwrap();
    assert_eq!(String::from_utf8_lossy(&content), "pages much like each other, ".repeat(4));
}

/// The digest from `xxhsum -H2`.
#[test]
fn an_inventory_is_in_frames_of_its_own_and_in_the_end_mark() {
    let mut stream = Vec::new();
    let mut writer = DataWriter::new(&mut stream);
    writer.gather(b"abc", false).unwrap();
    writer.send_inventory(b"abc").unwrap();
    writer.end(None).unwrap();
    let digest = "06b05ab6733a618578af5f94892f3950";
    let end =
        format!(r#"{{"bytes":3,"digest":"{digest}","tool_status":0,"inventory":{{"bytes":3,"digest":"{digest}"}}}}"#);
    let frames = b"D\0\0\0\x03\0\0\0abcI\0\0\0\x03\0\0\0abcE\0\0\0";
    let expected = [frames, &(end.len() as u32).to_le_bytes()[..], end.as_bytes()].concat();
    assert_eq!(String::from_utf8_lossy(&stream), String::from_utf8_lossy(&expected));
}

#[test]
fn frames_keep_their_size_limits() {
    for (kinds, limit) in [(&b"DZ"[..], 1_048_576u32), (b"HCPOQKRABEFI", 65_536)] {
        for kind in kinds {
            let header = |length: u32| [&[*kind, 0, 0, 0], &length.to_le_bytes()[..]].concat();
            let read = |length| frame::read_header(&mut header(length).as_slice());
            assert_eq!(read(limit).unwrap().length, limit as usize, "{}", *kind as char);
            assert!(read(limit + 1).is_err() && read(u32::MAX).is_err() && read(0).is_err(), "{}", *kind as char);
        }
    }
}

#[test]
fn kinds_keep_their_letters() {
    for (kind, letter) in [
        (Kind::Hello, b'H'),
        (Kind::Challenge, b'C'),
        (Kind::Proof, b'P'),
        (Kind::Offer, b'O'),
        (Kind::PluginOffer, b'Q'),
        (Kind::Copied, b'K'),
        (Kind::Report, b'A'),
        (Kind::Refusal, b'R'),
        (Kind::Heartbeat, b'B'),
        (Kind::End, b'E'),
        (Kind::Failed, b'F'),
        (Kind::Data, b'D'),
        (Kind::Packed, b'Z'),
        (Kind::Inventory, b'I'),
    ] {
        assert_eq!(frame::header_bytes(kind, 0x0102)[..], [letter, 0, 0, 0, 2, 1, 0, 0]);
    }
}

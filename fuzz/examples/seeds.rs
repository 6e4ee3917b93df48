//! Writes the seeds of fuzzing into `corpus/`: parts of the recorded streams, chunks of each type, handshakes, frames.
//! Run `cargo run --release --example seeds`, then `make fuzz-keep TARGET=name` for each target. The latter keeps the
//! seeds that matter.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use harness::xbstream;
use harness::xbstream::write::{REWRITE, end, file, payload, remove, rename, seek, sparse};
use mysqlset::protocol::inventory::{Definition, Entry, Inventory, Kind, encoding};
use mysqlset::unpack::Format;
use mysqlset::unpack::path::MemberPath;
use mysqlset::protocol::data::DataWriter;
use mysqlset::protocol::preface;

/// Longer inputs make a fuzzer slow.
const LONGEST: usize = 4000;

fn main() {
    let prefaces = [b"".to_vec(), b"MYSQL".to_vec(), b"SSH-2.0-OpenSSH".to_vec(), own_preface()];
    write("preface", prefaces.into_iter().chain([(0, 0), (1, 1), (2, 1), (9, 2), (1, 2)].map(peers_preface)));
    write("messages", messages().into_iter().map(str::as_bytes).map(<[u8]>::to_vec).chain(inventories()));
    let (percona, maria_db) = (recorded(Format::XbstreamPercona), recorded(Format::XbstreamMariaDb));
    let streams = [&percona, &maria_db].into_iter().flat_map(|all| all.iter().take(6));
    let streams: Vec<&Vec<u8>> = streams.collect();
    let framed =
        |packed: bool| streams.iter().flat_map(move |stream| framed(stream, packed)).chain(framed(b"", packed));
    write("frames", framed(false));
    write("packed_frames", framed(true));
    write("xbstream_percona", percona.into_iter().chain(special_percona()).chain(special()));
    let all_maria_db = || maria_db.iter().cloned().chain(special_maria_db()).chain(special());
    write("xbstream_mariadb", all_maria_db());
    write("framed_xbstream", all_maria_db());
    write("tar", members());
}

fn write(target: &str, inputs: impl IntoIterator<Item = Vec<u8>>) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&directory).unwrap();
    for (number, input) in inputs.into_iter().enumerate() {
        fs::write(directory.join(format!("seed-{number}")), input).unwrap();
    }
}

fn own_preface() -> Vec<u8> {
    let mut bytes = Vec::new();
    preface::send(&mut bytes).unwrap();
    bytes
}

fn peers_preface((highest, lowest): (u16, u16)) -> Vec<u8> {
    [b"MYSQLSET", highest.to_le_bytes().as_slice(), &lowest.to_le_bytes()].concat()
}

/// A kind and a body.
fn messages() -> Vec<&'static str> {
    vec![
        r#"H{"set":"mysql","ordinal":1,"nonce":"00ff","formats":["xbstream-mariadb","tar"],"keyring":false,"wants":"clone"}"#,
        r#"H{"set":"mysql","ordinal":0,"nonce":"","formats":[],"set_id":"ab","tool_series":"10.11","free_bytes":9,"page_size":16384,"keyring":true,"wants":"recovery"}"#,
        r#"H{"set":"m","ordinal":2,"nonce":"","formats":[],"wants":"report","about":{"by":"mariadb-gtid","slave_pos":"0-1-2"},"history":"0-1-2"}"#,
        r#"H{"set":"m","ordinal":2,"nonce":"","formats":["xbstream-percona"],"digests":["heads"],"packing":["zstd"],"plugin_server":"8.4.3","wants":"something-new"}"#,
        r#"C{"nonce":"00ff","proof":true}"#,
        r#"P{"hmac":"00112233445566778899aabbccddeeff"}"#,
        r#"O{"pod":"mysql-0","ordinal":0,"format":"xbstream-percona","tool":"xtrabackup 8.0","server":"8.0.36","heartbeat_seconds":5}"#,
        r#"O{"pod":"mysql-1","ordinal":1,"format":"tar","tool":"x\ny","server":"5.6","set_id":"ab","lineage":{"id":"cd","began_at":{"by":"binlog-file","file":"b.1","offset":4}},"heartbeat_seconds":18446744073709551615}"#,
        r#"O{"pod":"mysql-0","ordinal":0,"format":"xbstream-percona","digest":"heads","packing":"zstd","expected_bytes":7,"files":3,"tool":"xtrabackup 8.4","server":"8.4.3","heartbeat_seconds":5}"#,
        r#"Q{"pod":"mysql-0","ordinal":0,"server_port":3306,"user":"u","server":"8.4.3","by_gtid":true,"settings":{"a":"b"},"libraries":["x.so"],"rate_limit":1,"compressed":true,"heartbeat_seconds":5}"#,
        r#"K{"bytes":7}"#,
        r#"A{"pod":"mysql-1","ordinal":1,"has_data":true,"server":"10.11","applied":{"by":"mysql-gtid","executed":"u:1-9"},"cannot_follow":"","unknown_history":"x"}"#,
        r#"R{"why":"busy","text":"another clone\u001b[31m","retry_after":5}"#,
        r#"R{"why":"full-moon","text":"é","colour":"blue"}"#,
        r#"B{"bytes":123}"#,
        r#"E{"bytes":5,"digest":"00","tool_status":0,"position":"binlog.000001 4"}"#,
        r#"F{"text":"the server went away"}"#,
        "Ddata",
    ]
}

/// One with entries of each kind, and an empty one.
fn inventories() -> Vec<Vec<u8>> {
    let path = |text: &str| MemberPath::new(text.as_bytes()).unwrap();
    let tablespace =
        |renamed_to: Option<&str>, definition| Kind::Tablespace { id: 7, renamed_to: renamed_to.map(path), definition };
    let entries = [
        ("app/t.ibd", tablespace(None, Definition::Untouched { length: 931 })),
        ("app/a.ibd", tablespace(Some("app/b.ibd"), Definition::Changed)),
        ("app/FTS_1_CONFIG.ibd", tablespace(None, Definition::Unknown)),
        ("ibdata1", Kind::System),
        ("undo001", Kind::Undo),
        ("app/db.opt", Kind::File { length: Some(65) }),
        ("app/a.MAD", Kind::File { length: None }),
    ];
    let entries: Vec<Entry> = entries.into_iter().map(|(name, kind)| Entry { path: path(name), kind }).collect();
    let full = Inventory { keeps_definitions: true, entries };
    let empty = Inventory { keeps_definitions: false, entries: Vec::new() };
    [full, empty].iter().map(|inventory| [b"I".as_slice(), &encoding::encode(inventory).unwrap()].concat()).collect()
}

/// Frames of two sizes, with the end mark, and with a heartbeat in its place.
fn framed(stream: &[u8], packed: bool) -> Vec<Vec<u8>> {
    let frames = |piece: usize, ends: bool| {
        let mut bytes = Vec::new();
        let mut writer = DataWriter::new(&mut bytes);
        writer.set_packing(packed).unwrap();
        for mut piece in stream.chunks(piece) {
            writer.relay_once(&mut piece).unwrap().unwrap();
        }
        writer.heartbeat().unwrap();
        if ends {
            writer.end(Some("binlog.000001 4".into())).unwrap();
        } else {
            writer.failed("x".into()).unwrap();
        }
        bytes
    };
    vec![frames(LONGEST, true), frames(100, true), frames(1000, false)]
}

fn stream(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/streams").join(format!("{name}.zst"));
    let packed = fs::read(path).unwrap();
    zstd::stream::decode_all(packed.as_slice()).unwrap()
}

/// From each stream of a kind: small files, some of them together, and the last of all.
fn recorded(format: Format) -> Vec<Vec<u8>> {
    let names = match format {
        Format::XbstreamPercona => ["replica-5.6.xbstream", "primary-5.6-compress-parallel4.xbstream"],
        _ => ["mariadb-10.11-replica.xbstream", "mariadb-11.8-replica-gtid.xbstream"],
    };
    let mut parts = Vec::new();
    for stream in names.map(stream) {
        let mut files: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        let mut beginnings = BTreeMap::new();
        for chunk in xbstream::chunks(format, &stream) {
            let path = chunk.find(xbstream::Field::Path).map(|range| stream[range].to_vec());
            let beginning = *beginnings.entry(path).or_insert(chunk.at.start);
            files.entry(beginning).or_default().extend(&stream[chunk.at]);
        }
        let small: Vec<Vec<u8>> = files.into_values().filter(|file| file.len() < LONGEST).collect();
        parts.extend(small.iter().step_by(small.len() / 8 + 1).cloned());
        parts.extend(
            small.chunks(3).step_by(small.len() / 12 + 1).map(|some| some.concat()).filter(|some| some.len() < LONGEST),
        );
        parts.push(small[small.len().saturating_sub(3)..].concat());
    }
    parts
}

fn special() -> Vec<Vec<u8>> {
    vec![
        [payload(0, b"a", 0, b"one"), payload(0, b"d/b", 0, b"two"), payload(0, b"a", 3, b""), end(b"d/b"), end(b"a")]
            .concat(),
        [end(b"empty"), payload(0, b"zero", 0, b""), end(b"zero")].concat(),
        [file(b"d/a", b"x"), file(b"d/e/f/g", b"y")].concat().concat(),
        [file(b"link/evil", b"x"), file(b"../evil", b"y"), file(b"file", b"z")].concat().concat(),
        [payload(0, b"long", 0, &[7; 3000]), payload(0, b"long", 3000, &[0; 900]), end(b"long")].concat(),
    ]
}

fn special_percona() -> Vec<Vec<u8>> {
    vec![
        [sparse(b"s", 0, &[(4, 2), (0, 1), (5, 0)], b"xyz"), payload(0, b"s", 12, b"tail"), end(b"s")].concat(),
        [
            sparse(b"d/s", 0, &[(131_070, 3)], b"xyz"),
            sparse(b"d/s", 131_073, &[(0, 0), (262_144, 1)], b"e"),
            end(b"d/s"),
        ]
        .concat(),
        [payload(0, b"s", 0, b"x"), sparse(b"s", 1, &[(u32::MAX, 0), (u32::MAX, 0)], b""), end(b"s")].concat(),
    ]
}

fn special_maria_db() -> Vec<Vec<u8>> {
    vec![
        [payload(0, b"a", 0, b"header, records"), seek(b"a", 0), payload(0, b"a", 0, b"HEADER"), end(b"a")].concat(),
        [payload(0, b"a", 0, b"x"), seek(b"a", 131_071), payload(0, b"a", 131_071, b"xyz"), seek(b"a", 5), end(b"a")]
            .concat(),
        [file(b"d/a", b"1"), vec![rename(b"d/a", b"d/b")], file(b"d/a", b"2"), vec![rename(b"d/a", b"d/b")]]
            .concat()
            .concat(),
        [file(b"a", b"1"), vec![remove(b"a")], file(b"a", b"2"), vec![remove(b"file"), rename(b"link", b"c")]]
            .concat()
            .concat(),
        [
            file(b"a", b"long, old"),
            vec![payload(REWRITE, b"a", 0, b"new"), payload(REWRITE, b"a", 3, b"er"), end(b"a")],
        ]
        .concat()
        .concat(),
        [file(b"d/a", b"1"), vec![rename(b"d/a", b"d"), remove(b"d"), rename(b"d", b"link/e")]].concat().concat(),
        [file(b"d/t#P#p0", b"1"), file(b"d/b", b"2"), vec![remove(b"d/t#P#*"), remove(b"e/f"), rename(b"e/f", b"d/b")]]
            .concat()
            .concat(),
        [file(b"d/a", b"1"), file(b"d/e/b", b"2"), vec![remove(b"d")], file(b"d/a", b"3")].concat().concat(),
    ]
}

/// Small members of the recorded archive, alone and some together, with and without the end.
fn members() -> Vec<Vec<u8>> {
    let archive = stream("primary-5.6.tar");
    let mut members = Vec::new();
    let mut at = 0;
    while let Some(header) = archive.get(at..at + 512).filter(|header| header[0] != 0) {
        let size =
            usize::from_str_radix(String::from_utf8_lossy(&header[124..135]).trim_matches(['\0', ' ']), 8).unwrap();
        let next = at + 512 + size.next_multiple_of(512);
        members.push(archive[at..next].to_vec());
        at = next;
    }
    members.retain(|member| member.len() < LONGEST);
    let end = vec![0; 1024];
    let mut parts = vec![end.clone(), members[0].clone(), [members[0].clone(), vec![0; 512]].concat()];
    parts.extend(members.iter().step_by(members.len() / 8 + 1).map(|member| [member.clone(), end.clone()].concat()));
    parts.extend(members.chunks(2).take(4).map(|some| [some.concat(), end.clone()].concat()));
    parts
}

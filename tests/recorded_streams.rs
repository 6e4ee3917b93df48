//! Streams of real backup tools (tests/streams/, see its README.md) unpack to the same files as with the tools' own
//! programs. A part of one never counts as the whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mysqlset::clone::method::backup_tool::writer_of;
use mysqlset::datadir::backup_metadata;
use mysqlset::model::position::Position;
use mysqlset::unpack::{Format, Summary, UnpackError, unpack};
use sha2::{Digest, Sha256};

fn streams() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/streams")
}

fn format_of(name: &str) -> Format {
    match name {
        name if name.ends_with(".tar") => Format::Tar,
        name if name.starts_with("mariadb") => Format::XbstreamMariaDb,
        _ => Format::XbstreamPercona,
    }
}

const NAMES: [&str; 7] = [
    "primary-5.6.xbstream",
    "replica-5.6.xbstream",
    "primary-5.6.tar",
    "primary-5.6-compress-parallel4.xbstream",
    "mariadb-10.11-primary.xbstream",
    "mariadb-10.11-replica.xbstream",
    "mariadb-11.8-replica-gtid.xbstream",
];

fn stream(name: &str) -> Vec<u8> {
    let packed = std::fs::read(streams().join(format!("{name}.zst"))).unwrap();
    zstd::decode_all(packed.as_slice()).unwrap()
}

/// The suffix of compressed members, in one of the streams.
const QUICKLZ: &str = ".qp";

/// A stream in the form that is unpacked here. A `--compress` stream would be refused, but its interleaved members are
/// a valuable sample. Without the suffixes in its paths the compressed members are ordinary files.
fn stream_to_unpack(name: &str) -> Vec<u8> {
    let recorded = stream(name);
    if !name.contains("compress") {
        return recorded;
    }
    let (mut plain, mut rest) = (Vec::new(), recorded.as_slice());
    while !rest.is_empty() {
        let path_end = 14 + u32::from_le_bytes(rest[10..14].try_into().unwrap()) as usize;
        let path = &rest[14..path_end];
        let path = path.strip_suffix(QUICKLZ.as_bytes()).unwrap_or(path);
        let body = match rest[9] {
            b'P' => 20 + u64::from_le_bytes(rest[path_end..path_end + 8].try_into().unwrap()) as usize,
            b'E' => 0,
            other => panic!("chunk type {other}"),
        };
        let length = (path.len() as u32).to_le_bytes();
        plain.extend([&rest[..10], &length, path, &rest[path_end..path_end + body]].concat());
        rest = &rest[path_end + body..];
    }
    assert!(plain.len() < recorded.len(), "no member of {name} has the suffix");
    plain
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unpack_some(name: &str, bytes: &[u8]) -> (tempfile::TempDir, Result<Summary, UnpackError>) {
    let directory = tempfile::tempdir().unwrap();
    let result = unpack(format_of(name), bytes, directory.path());
    (directory, result)
}

fn is_taken_for_whole(name: &str, bytes: &[u8]) -> bool {
    unpack_some(name, bytes).1.and_then(|summary| summary.require_backup_metadata()).is_ok()
}

/// Size and digest of each file, by its path.
fn files(directory: &Path) -> BTreeMap<String, (u64, String)> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in std::fs::read_dir(next).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                waiting.push(entry.path());
                continue;
            }
            let bytes = std::fs::read(entry.path()).unwrap();
            let path = entry.path().strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
            found.insert(path, (bytes.len() as u64, digest(&bytes)));
        }
    }
    found
}

#[test]
fn each_stream_unpacks_to_the_files_of_its_manifest() {
    for name in NAMES {
        let manifest = std::fs::read_to_string(streams().join(format!("{name}.manifest"))).unwrap();
        let bytes = stream(name);
        let title = manifest.lines().next().unwrap();
        assert!(
            title.contains(&format!("{} bytes, sha256 {}", bytes.len(), digest(&bytes))),
            "{name} is another stream"
        );
        let expected: BTreeMap<String, (u64, String)> = manifest
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .map(|line| {
                let mut columns = line.splitn(3, ' ');
                let mut column = || columns.next().unwrap().to_owned();
                let (size, sha256, path) = (column().parse().unwrap(), column(), column());
                (path.strip_suffix(QUICKLZ).unwrap_or(&path).to_owned(), (size, sha256))
            })
            .collect();
        let (directory, result) = unpack_some(name, &stream_to_unpack(name));
        let summary = result.unwrap();
        summary.require_backup_metadata().unwrap();
        assert_eq!(summary.files, expected.len() as u64, "{name}");
        assert_eq!(files(directory.path()), expected, "{name}");
    }
}

#[test]
fn each_stream_says_where_replication_starts_and_which_tool_made_it() {
    let by_file = |file: &str, offset| Position::BinlogFile { file: file.to_owned(), offset };
    let by_gtid = |slave_pos: &str| Position::MariadbGtid { slave_pos: slave_pos.to_owned() };
    for (name, position, series) in [
        ("primary-5.6.xbstream", by_file("mysql-bin.000003", 1385), "2.3"),
        ("replica-5.6.xbstream", by_file("mysql-bin.000003", 1575), "2.3"),
        ("primary-5.6.tar", by_file("mysql-bin.000003", 1385), "2.3"),
        ("mariadb-10.11-primary.xbstream", by_gtid("0-100-7"), "10.11"),
        ("mariadb-10.11-replica.xbstream", by_file("mysql-bin.000001", 1766), "10.11"),
        ("mariadb-11.8-replica-gtid.xbstream", by_gtid("0-100-9"), "11.8"),
    ] {
        let (directory, result) = unpack_some(name, &stream(name));
        result.unwrap();
        let data = directory.path();
        let found = match name.contains("replica") {
            true => backup_metadata::position_of_source(data),
            false => backup_metadata::position_of_primary(data, writer_of(format_of(name))),
        };
        assert_eq!(found.unwrap(), position, "{name}");
        assert_eq!(backup_metadata::series_of_maker(data).unwrap().as_deref(), Some(series), "{name}");
        assert_eq!(
            backup_metadata::checkpoints(data).unwrap(),
            Some(backup_metadata::Checkpoints::Unprepared),
            "{name}"
        );
        assert!(backup_metadata::last_lsn(data).unwrap().is_some_and(|last| last > 0), "{name}");
    }
}

#[test]
fn compressed_members_are_refused_with_a_remedy() {
    let name = "primary-5.6-compress-parallel4.xbstream";
    let error = unpack_some(name, &stream(name)).1.unwrap_err().to_string();
    assert!(error.contains(" is compressed by the backup tool") && error.contains("remove `compress`"), "{error}");
}

#[test]
fn no_part_of_a_stream_is_taken_for_the_whole() {
    for name in NAMES {
        let bytes = stream_to_unpack(name);
        // Boundaries where a chunk or a member begins, always including the last of them, and places in between.
        let boundaries: Vec<usize> = match format_of(name) {
            Format::Tar => (0..bytes.len()).step_by(512).collect(),
            _ => bytes.windows(8).enumerate().filter(|(_, window)| window == b"XBSTCK01").map(|(at, _)| at).collect(),
        };
        let step = (boundaries.len() / 12).max(1);
        let last = boundaries.iter().rev().take(12);
        let cuts = boundaries.iter().step_by(step).chain(last).flat_map(|at| [*at, at + 5, at + 400]);
        for cut in cuts.filter(|cut| *cut < bytes.len()) {
            assert!(!is_taken_for_whole(name, &bytes[..cut]), "{name} cut at {cut} of {}", bytes.len());
        }
    }
}

#[test]
fn a_flipped_bit_in_a_payload_is_found_by_its_chunks_checksum() {
    for name in NAMES.into_iter().filter(|name| format_of(name) != Format::Tar) {
        let bytes = stream_to_unpack(name);
        let first_payload =
            bytes.windows(10).position(|window| &window[..8] == b"XBSTCK01" && window[9] == b'P').unwrap();
        let path_length =
            u32::from_le_bytes(bytes[first_payload + 10..first_payload + 14].try_into().unwrap()) as usize;
        let data = first_payload + 14 + path_length + 20;
        let mut damaged = bytes;
        damaged[data] ^= 0x40;
        let error = unpack_some(name, &damaged).1.unwrap_err();
        assert!(error.to_string().contains("checksum"), "{name}: {error}");
    }
}

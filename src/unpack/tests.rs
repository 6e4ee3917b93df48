//! One named test for each way to damage a stream, and random good ones.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;

use super::sink::OPEN_FILES;
use super::*;

mod dropped;
mod tar;
mod turns;

fn head(flags: u8, kind: u8, path: &[u8]) -> Vec<u8> {
    [b"XBSTCK01", [flags, kind].as_slice(), &(path.len() as u32).to_le_bytes(), path].concat()
}

fn payload_flagged(flags: u8, path: &str, offset: u64, data: &[u8]) -> Vec<u8> {
    let numbers = [(data.len() as u64).to_le_bytes(), offset.to_le_bytes()].concat();
    [head(flags, b'P', path.as_bytes()), numbers, crc32fast::hash(data).to_le_bytes().to_vec(), data.to_vec()].concat()
}

fn payload(path: &str, offset: u64, data: &[u8]) -> Vec<u8> {
    payload_flagged(0, path, offset, data)
}

fn end(path: &str) -> Vec<u8> {
    head(0, b'E', path.as_bytes())
}

fn file(path: &str, data: &[u8]) -> Vec<u8> {
    [payload(path, 0, data), end(path)].concat()
}

fn sparse(path: &str, offset: u64, map: &[(u32, u32)], data: &[u8]) -> Vec<u8> {
    let map_bytes: Vec<u8> =
        map.iter().flat_map(|(skip, len)| [skip.to_le_bytes(), len.to_le_bytes()].concat()).collect();
    let crc = crc32fast::hash(&[map_bytes.clone(), data.to_vec()].concat());
    let count = (map.len() as u32).to_le_bytes().to_vec();
    let numbers = [(data.len() as u64).to_le_bytes(), offset.to_le_bytes()].concat();
    [head(0, b'S', path.as_bytes()), count, numbers, crc.to_le_bytes().to_vec(), map_bytes, data.to_vec()].concat()
}

fn seek(path: &str, offset: u64) -> Vec<u8> {
    [head(0, b'S', path.as_bytes()), offset.to_le_bytes().to_vec()].concat()
}

fn rename(from: &str, to: &[u8]) -> Vec<u8> {
    [head(0, b'R', from.as_bytes()), (to.len() as u32).to_le_bytes().to_vec(), to.to_vec()].concat()
}

fn remove(path: &str) -> Vec<u8> {
    head(0, b'D', path.as_bytes())
}

const METADATA_FILES: [&str; 2] = ["xtrabackup_checkpoints", "xtrabackup_info"];

fn backup(members: &[Vec<u8>]) -> Vec<u8> {
    let metadata = METADATA_FILES.map(|name| file(name, b"x"));
    [members.concat(), metadata.concat()].concat()
}

/// Unpacks into a new directory below another, which must have no other entry afterwards.
fn unpacked(format: Format, stream: impl Read) -> (TempDir, Result<Summary, UnpackError>) {
    let outer = tempfile::tempdir().unwrap();
    std::fs::create_dir(outer.path().join("stage")).unwrap();
    let result = unpack(format, stream, &outer.path().join("stage"));
    assert_eq!(std::fs::read_dir(outer.path()).unwrap().count(), 1, "written outside the stage");
    (outer, result)
}

fn tree(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in std::fs::read_dir(next).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                waiting.push(entry.path());
            } else {
                let name = entry.path().strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
                files.insert(name, std::fs::read(entry.path()).unwrap());
            }
        }
    }
    files
}

fn files_of(format: Format, stream: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let (outer, result) = unpacked(format, stream);
    result.unwrap();
    tree(&outer.path().join("stage"))
}

fn refusal(format: Format, stream: &[u8]) -> String {
    let (_outer, result) = unpacked(format, stream);
    match result.unwrap_err() {
        UnpackError::Malformed(what) => what,
        other => panic!("{other:?}"),
    }
}

fn refused_by_both(stream: &[u8], word: &str) {
    for format in [Format::XbstreamPercona, Format::XbstreamMariaDb] {
        let what = refusal(format, stream);
        assert!(what.contains(word), "{word:?} is not in {what:?}");
    }
}

use Format::{XbstreamMariaDb as MARIADB, XbstreamPercona as PERCONA};

#[test]
fn interleaved_and_empty_files_are_complete() {
    let stream = [
        payload("a/1.ibd", 0, b"one "),
        payload("b", 0, b"two "),
        payload("a/1.ibd", 4, b"more"),
        end("b"),
        payload("zero", 0, b""),
        end("zero"),
        end("empty"),
        end("a/1.ibd"),
    ];
    for format in [PERCONA, MARIADB] {
        let files = files_of(format, &stream.concat());
        let names: Vec<&str> = files.keys().map(String::as_str).collect();
        assert_eq!(names, ["a/1.ibd", "b", "empty", "zero"]);
        assert_eq!(files["a/1.ibd"], b"one more");
    }
}

#[test]
fn every_cut_is_refused() {
    let stream = backup(&[file("ibdata1", b"data"), payload("t", 0, b"xy"), payload("t", 2, b"z"), end("t")]);
    for length in 0..stream.len() {
        let (_outer, result) = unpacked(PERCONA, &stream[..length]);
        let whole = result.and_then(|summary| summary.require_backup_metadata());
        assert!(whole.is_err(), "cut at {length} of {}", stream.len());
    }
    let (_outer, result) = unpacked(PERCONA, stream.as_slice());
    result.unwrap().require_backup_metadata().unwrap();
}

#[test]
fn newer_names_of_the_metadata_count_too() {
    let stream = [file("mariadb_backup_checkpoints", b"x"), file("mariadb_backup_info", b"x")].concat();
    unpacked(MARIADB, stream.as_slice()).1.unwrap().require_backup_metadata().unwrap();
}

#[test]
fn garbage_between_and_after_chunks() {
    refused_by_both(b"XBSTCK02 and so on", "no chunk begins at 0");
    refused_by_both(&[file("a", b"x"), b"garbage, more than a head".to_vec()].concat(), "no chunk begins at");
    refused_by_both(&[file("a", b"x"), b"short".to_vec()].concat(), "ends inside a chunk's head");
}

#[test]
fn a_wrong_checksum() {
    let mut stream = file("a", b"data");
    let at = stream.len() - 15 - 2;
    stream[at] ^= 1;
    refused_by_both(&stream, "checksum");
}

#[test]
fn chunks_out_of_order_missing_or_twice() {
    refused_by_both(&[payload("a", 4, b"late")].concat(), "comes at 0");
    refused_by_both(&[payload("a", 0, b"one"), payload("a", 6, b"three")].concat(), "comes at 3");
    refused_by_both(&[payload("a", 0, b"one"), payload("a", 0, b"one")].concat(), "comes at 3");
}

#[test]
fn a_name_that_is_repeated_after_its_end() {
    refused_by_both(&[file("a", b"x"), file("a", b"y")].concat(), "comes twice");
    refused_by_both(&[file("a", b"x"), end("a")].concat(), "comes twice");
}

#[test]
fn unknown_types_and_flags() {
    refused_by_both(&head(0, b'X', b"a"), "unknown chunk type");
    refused_by_both(&head(0, 0, b"a"), "unknown chunk type");
    refused_by_both(&[head(1, b'X', b"a"), vec![0; 20]].concat(), "ignorable");
    refused_by_both(&payload_flagged(1, "a", 0, b"x"), "ignorable");
    refused_by_both(&payload_flagged(4, "a", 0, b"x"), "unknown flags");
    assert!(refusal(PERCONA, &payload_flagged(2, "a", 0, b"x")).contains("unknown flags"));
    assert!(refusal(MARIADB, &head(2, b'E', b"a")).contains("unknown flags"));
    for stream in [rename("a", b"b"), remove("a")] {
        assert!(refusal(PERCONA, &stream).contains("unknown chunk type"));
    }
}

#[test]
fn paths_too_long() {
    let long = "n".repeat(255);
    let longest = format!("{long}/{}", "m".repeat(255));
    assert_eq!(longest.len(), 511);
    assert_eq!(files_of(MARIADB, &file(&longest, b"x")).len(), 1);
    refused_by_both(&file(&format!("{longest}x"), b"x"), "a path of 512 bytes");
    let mut endless = head(0, b'P', b"a");
    endless[10..14].copy_from_slice(&u32::MAX.to_le_bytes());
    refused_by_both(&endless, "a path of 4294967295 bytes");
}

#[test]
fn hostile_names_cannot_write_outside() {
    for name in ["../evil", "/evil", "a/../../evil", "", "a\0b", "a\\b", ".mysqlset.json", "./a", "a//b"] {
        refused_by_both(&file(name, b"evil"), "is refused");
        refused_by_both(&end(name), "is refused");
        let renamed = [file("a", b"x"), rename("a", name.as_bytes())].concat();
        assert!(refusal(MARIADB, &renamed).contains("is refused"), "{name:?}");
        assert!(refusal(MARIADB, &remove(name)).contains("is refused"), "{name:?}");
    }
}

#[test]
fn links_in_the_way_are_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("kept"), "kept").unwrap();
    let stage = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), stage.path().join("d")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("kept"), stage.path().join("f")).unwrap();
    for stream in [
        file("d/evil", b"evil"),
        file("f", b"evil"),
        [payload_flagged(2, "f", 0, b"evil"), end("f")].concat(),
        remove("d/kept"),
        [file("a", b"x"), rename("a", b"d/evil")].concat(),
    ] {
        assert!(matches!(unpack(MARIADB, stream.as_slice(), stage.path()), Err(UnpackError::Malformed(_))));
    }
    assert_eq!(tree(outside.path()), BTreeMap::from([("kept".into(), b"kept".to_vec())]));
}

#[test]
fn a_name_that_is_file_and_directory() {
    refused_by_both(&[file("a", b"x"), file("a/b", b"x")].concat(), "is a file or a link");
    refused_by_both(&[file("a/b", b"x"), file("a", b"x")].concat(), "comes twice");
}

#[test]
fn too_many_open_files() {
    let stream: Vec<u8> = (0..=OPEN_FILES).flat_map(|number| payload(&format!("f{number}"), 0, b"x")).collect();
    refused_by_both(&stream, "are open at once");
}

#[test]
fn lengths_beyond_any_file() {
    for (length, offset) in [(u64::MAX, 0), (i64::MAX as u64 + 1, 0)] {
        let numbers = [length.to_le_bytes(), u64::to_le_bytes(offset)].concat();
        refused_by_both(&[head(0, b'P', b"a"), numbers, vec![0; 4]].concat(), "beyond any file's end");
    }
    let endless = [i64::MAX.to_le_bytes(), 0i64.to_le_bytes()].concat();
    refused_by_both(&[head(0, b'P', b"a"), endless, vec![0; 4], vec![0; 999]].concat(), "ends inside a");
    assert!(refusal(MARIADB, &[payload("a", 0, b"x"), seek("a", u64::MAX)].concat()).contains("beyond any file's end"));
}

#[test]
fn sparse_chunks_have_holes() {
    let stream = [
        payload("a", 0, b"head"),
        sparse("a", 4, &[(4, 2), (0, 1), (5, 0)], b"xyz"),
        payload("a", 16, b"tail"),
        end("a"),
    ];
    assert_eq!(files_of(PERCONA, &stream.concat())["a"], b"head\0\0\0\0xyz\0\0\0\0\0tail");
    let trailing = [sparse("a", 0, &[(0, 1), (300_000, 0)], b"x"), end("a")].concat();
    assert_eq!(files_of(PERCONA, &trailing)["a"].len(), 300_001);
}

#[test]
fn invalid_sparse_chunks() {
    assert!(refusal(PERCONA, &sparse("a", 0, &[], b"")).contains("0 entries"));
    assert!(refusal(PERCONA, &sparse("a", 0, &[(0, 5)], b"four")).contains("map and length differ"));
    assert!(refusal(PERCONA, &sparse("a", 1, &[(0, 4)], b"four")).contains("comes at 0"));
    // At most half a mebibyte of a map is kept in memory.
    let map = |entries: u32| [sparse("a", 0, &vec![(0, 1); entries as usize], &vec![7; entries as usize]), end("a")];
    assert_eq!(files_of(PERCONA, &map(65_536).concat())["a"].len(), 65_536);
    assert!(refusal(PERCONA, &map(65_537).concat()).contains("65537 entries"));
    let huge = [head(0, b'S', b"a"), u32::MAX.to_le_bytes().to_vec(), vec![0; 20]].concat();
    assert!(refusal(PERCONA, &huge).contains("4294967295 entries"));
    let mut damaged = [sparse("a", 0, &[(8, 4)], b"four"), end("a")].concat();
    damaged[head(0, b'S', b"a").len() + 24] ^= 1;
    assert!(refusal(PERCONA, &damaged).contains("checksum"), "the map is covered by the checksum");
}

#[test]
fn a_seek_overwrites_and_the_file_keeps_its_length() {
    let stream = [payload("a", 0, b"0123456789"), seek("a", 2), payload("a", 2, b"xx"), end("a")].concat();
    assert_eq!(files_of(MARIADB, &stream)["a"], b"01xx456789");
    assert!(refusal(MARIADB, &seek("a", 0)).contains("not open"));
}

#[test]
fn a_rewrite_replaces_the_earlier_data() {
    let stream =
        [file("a", b"long, and old"), payload_flagged(2, "a", 0, b"new"), payload_flagged(2, "a", 3, b"er"), end("a")];
    assert_eq!(files_of(MARIADB, &stream.concat())["a"], b"newer");
}

/// Gives a byte at a time, then breaks.
struct Dripping<'a>(&'a [u8], Option<io::ErrorKind>);

impl Read for Dripping<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match (self.0.split_first(), self.1) {
            (Some((first, rest)), _) if !buffer.is_empty() => {
                buffer[0] = *first;
                self.0 = rest;
                Ok(1)
            }
            (None, Some(kind)) => Err(kind.into()),
            _ => Ok(0),
        }
    }
}

#[test]
fn single_bytes_make_the_same_files() {
    let stream = [file("a/b", b"some data"), file("c", b"")].concat();
    let (outer, result) = unpacked(MARIADB, Dripping(&stream, None));
    result.unwrap();
    assert_eq!(tree(&outer.path().join("stage")), files_of(MARIADB, &stream));
}

#[test]
fn a_broken_connection_differs_from_a_broken_stream() {
    let stream = payload("a", 0, b"data");
    let (_outer, result) = unpacked(MARIADB, Dripping(&stream, Some(io::ErrorKind::ConnectionReset)));
    assert!(matches!(result, Err(UnpackError::Input(error)) if error.kind() == io::ErrorKind::ConnectionReset));
}

#[test]
fn a_full_disk_is_named() {
    let (_outer, result) = {
        let stage = Path::new("/dev/null");
        ((), unpack(MARIADB, file("a", b"x").as_slice(), stage))
    };
    assert!(matches!(result, Err(UnpackError::Output { path, .. }) if path == Path::new("/dev/null")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_files_in_any_interleaving_come_back(
        files in prop::collection::btree_map("[a-z]{1,8}(/[a-z0-9#@]{1,8}x)?", (0usize..300_000, any::<u8>()), 1..6),
        pieces in prop::collection::vec((0usize..6, 1usize..150_000), 0..60),
    ) {
        let names: Vec<&String> = files.keys().collect();
        prop_assume!(!names.iter().any(|name| names.iter().any(|other| other.starts_with(&format!("{name}/")))));
        let contents: Vec<Vec<u8>> =
            files.values().map(|(length, seed)| (0..*length).map(|at| (at as u8) ^ (at >> 8) as u8 ^ seed).collect()).collect();
        let mut sent = vec![0; names.len()];
        let mut stream = Vec::new();
        for (number, length) in pieces {
            let number = number % names.len();
            let from = sent[number];
            let to = (from + length).min(contents[number].len());
            stream.extend(payload(names[number], from as u64, &contents[number][from..to]));
            sent[number] = to;
        }
        for (number, name) in names.iter().enumerate() {
            stream.extend(payload(name, sent[number] as u64, &contents[number][sent[number]..]));
            stream.extend(end(name));
        }
        for format in [PERCONA, MARIADB] {
            let unpacked = files_of(format, &stream);
            prop_assert_eq!(unpacked.len(), names.len());
            for (name, content) in names.iter().zip(&contents) {
                prop_assert!(unpacked[*name] == *content, "{} differs", name);
            }
        }
    }
}

//! Streams whose members are compressed, as the tools send them: each a file of its own kind, with a suffix.

use std::io::Write;

use lz4_flex::frame::{FrameEncoder, FrameInfo};

use super::*;
use crate::datadir::backup_metadata;
use crate::model::position::{Position, Writer};

fn zst(data: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn lz4(data: &[u8]) -> Vec<u8> {
    let mut encoder = FrameEncoder::with_frame_info(FrameInfo::new().content_checksum(true), Vec::new());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn pages(count: u32) -> Vec<u8> {
    (0..count).flat_map(|number| (number / 5).to_be_bytes()).collect()
}

/// A member in chunks of so many bytes.
fn chunks(path: &str, data: &[u8], size: usize) -> Vec<Vec<u8>> {
    let payloads = data.chunks(size).enumerate().map(|(number, data)| payload(path, (number * size) as u64, data));
    payloads.chain([end(path)]).collect()
}

#[test]
fn members_become_the_files_that_they_were() {
    let data = pages(200_000);
    let (zst, lz4) = ([zst(&data[..300_000]), zst(&data[300_000..])].concat(), lz4(&data));
    let (one, other) = (chunks("a/b.ibd.zst", &zst, 7000), chunks("c.ibd.lz4", &lz4, 70_000));
    let mut interleaved = Vec::new();
    for number in 0..one.len().max(other.len()) {
        interleaved.extend([&one, &other].into_iter().filter_map(|chunks| chunks.get(number)).flatten());
    }
    let empty = [end("none.zst"), payload("none.lz4x", 0, b"as it is"), end("none.lz4x")].concat();
    for format in [PERCONA, MARIADB] {
        let files = files_of(format, &[&interleaved[..], &empty].concat());
        let names: Vec<&str> = files.keys().map(String::as_str).collect();
        assert_eq!(names, ["a/b.ibd", "c.ibd", "none", "none.lz4x"]);
        assert!(files["a/b.ibd"] == data && files["c.ibd"] == data);
        assert_eq!((&files["none"][..], &files["none.lz4x"][..]), (&b""[..], &b"as it is"[..]));
    }
    let (outer, result) = unpacked(PERCONA, Dripping(&interleaved, None));
    result.unwrap();
    assert!(tree(&outer.path().join("stage"))["a/b.ibd"] == data);
}

/// All but the checkpoints are, and each becomes what it was.
#[test]
fn positions_are_found_where_they_are_compressed() {
    let by_gtid = b"SET GLOBAL gtid_slave_pos = '0-100-9';\nCHANGE MASTER TO master_use_gtid = slave_pos;\n";
    let own = b"mysql-bin.000001\t746\t0-100-9\n";
    for prefix in ["xtrabackup_", "mariadb_backup_"] {
        let stream = [
            file(&format!("{prefix}slave_info.zst"), &zst(by_gtid)),
            file(&format!("{prefix}binlog_info.lz4"), &lz4(own)),
        ];
        let (outer, result) = unpacked(PERCONA, stream.concat().as_slice());
        result.unwrap();
        let data = outer.path().join("stage");
        let position = Position::MariadbGtid { slave_pos: "0-100-9".into() };
        assert_eq!(backup_metadata::position_of_source(&data).unwrap(), position);
        assert_eq!(backup_metadata::position_of_primary(&data, Writer::MariadbBackup).unwrap(), position);
    }
}

#[test]
fn the_metadata_may_be_compressed() {
    for (name, info) in [("xtrabackup_info.zst", zst(b"x")), ("xtrabackup_info.lz4", lz4(b"x"))] {
        let stream = [file("xtrabackup_checkpoints", b"x"), file(name, &info)].concat();
        unpacked(PERCONA, stream.as_slice()).1.unwrap().require_backup_metadata().unwrap();
    }
}

#[test]
fn every_cut_of_a_member_is_refused() {
    for (name, data) in [("a.zst", zst(b"some data")), ("a.lz4", lz4(b"some data"))] {
        assert_eq!(files_of(PERCONA, &file(name, &data))["a"], b"some data");
        for cut in 1..data.len() {
            refused_by_both(&file(name, &data[..cut]), "a: it ends inside a compressed frame");
        }
    }
}

#[test]
fn damaged_members_are_named() {
    refused_by_both(&file("d/a.zst", b"this is plain"), "d/a: it is no good zstd");
    refused_by_both(&file("d/a.lz4", b"this is plain"), "d/a: no lz4 frame begins");
}

#[test]
fn offsets_are_those_of_the_compressed_member() {
    let data = zst(&pages(1000));
    let (first, second) = data.split_at(20);
    refused_by_both(&[payload("a.zst", 0, first), payload("a.zst", 4000, second)].concat(), "comes at 20");
}

#[test]
fn a_member_comes_once_however_it_is_compressed() {
    let (zst, lz4) = (zst(b"x"), lz4(b"x"));
    refused_by_both(&[file("a.zst", &zst), file("a.lz4", &lz4)].concat(), "comes twice");
    refused_by_both(&[file("a", b"x"), file("a.zst", &zst)].concat(), "comes twice");
    for second in [payload("a", 0, b"x"), file("a.lz4", &lz4), end("a"), payload_flagged(2, "a", 0, b"x")] {
        let stream = [payload("a.zst", 0, &zst), second].concat();
        assert!(refusal(MARIADB, &stream).contains("comes twice"));
    }
}

#[test]
fn no_tool_seeks_or_leaves_holes_in_one() {
    let zst = zst(b"data");
    let holes = sparse("a.zst", 0, &[(0, zst.len() as u32)], &zst);
    assert!(refusal(PERCONA, &holes).contains("a hole in a, which is compressed with zstd"));
    let stream = [payload("a.zst", 0, &zst), seek("a.zst", 0)].concat();
    assert!(refusal(MARIADB, &stream).contains("a seek or a hole in a"));
}

#[test]
fn it_is_renamed_removed_and_rewritten_as_any() {
    let (one, two) = (zst(b"1"), zst(b"2"));
    let stream = [
        file("a.zst", &one),
        rename("a.zst", b"b.zst"),
        file("c.zst", &one),
        remove("c.zst"),
        file("d.zst", &one),
        payload_flagged(2, "d.zst", 0, &two),
        end("d.zst"),
    ];
    let files = files_of(MARIADB, &stream.concat());
    assert_eq!(files, BTreeMap::from([("b".into(), b"1".to_vec()), ("d".into(), b"2".to_vec())]));
    let open = [payload("a.zst", 0, &one), remove("a.zst")].concat();
    assert!(refusal(MARIADB, &open).contains("before its end"));
}

/// A table of 50 Chinese characters: five bytes of each in a file's name.
#[test]
fn names_that_are_long_without_the_suffix_pass() {
    for (length, passes) in [(251, true), (255, true), (256, false)] {
        let name = format!("d/{}.zst", "n".repeat(length));
        let (_outer, result) = unpacked(PERCONA, &file(&name, &zst(b"x"))[..]);
        assert_eq!(result.is_ok(), passes, "{length} bytes");
    }
}

#[test]
fn what_is_left_of_a_hostile_name_is_refused() {
    for name in ["..zst", "a/...zst", "d/..lz4"] {
        refused_by_both(&file(name, &zst(b"evil")), "is refused");
    }
}

#[test]
fn quicklz_and_encryption_are_refused_with_what_to_change() {
    for stream in [payload("a.ibd.qp", 0, b"qpress10"), end("a.qp")] {
        refused_by_both(&stream, "remove `compress` from the options files");
    }
    refused_by_both(&payload("a.ibd.zst.xbcrypt", 0, b"x"), "remove `encrypt` from the options files");
    refused_by_both(&payload("a.ibd.xbcrypt", 0, b"x"), "is encrypted");
}

#[test]
fn many_open_members_share_their_memory() {
    // Each of these has a window of 8 MiB.
    let header = [&0xFD2F_B528u32.to_le_bytes()[..], &[0, 13 << 3], &[1, 0, 0]].concat();
    let open = |number: u8| payload(&format!("f{number}.zst"), 0, &header[..header.len() - 1]);
    refused_by_both(&[open(0), open(1)].concat(), "f1: decompressing it takes more than the 12 MiB");
    let whole: Vec<u8> = (0..100).flat_map(|number| file(&format!("f{number}.zst"), &header)).collect();
    assert_eq!(files_of(PERCONA, &whole).len(), 100);
}

#[test]
fn a_bomb_is_a_large_file_and_no_more() {
    let zeros = vec![0; 64 << 20];
    for (name, bomb) in [("a.zst", zst(&zeros)), ("a.lz4", lz4(&zeros))] {
        let (outer, result) = unpacked(PERCONA, file(name, &bomb).as_slice());
        result.unwrap();
        assert_eq!(std::fs::metadata(outer.path().join("stage/a")).unwrap().len(), 64 << 20);
    }
}

//! Members that the real `zstd` and `lz4` commands compressed, in all the ways that they know, unpack to what they
//! were made of. Needs Debian's zstd and lz4; `make test` installs them.

use std::io::Write;
use std::process::{Command, Stdio};

use mysqlset::unpack::{Format, unpack};

/// What a data directory has much of: repeated pages, text, noise, and nothing.
fn contents() -> [Vec<u8>; 4] {
    let pages: Vec<u8> = (0..700_000u32).flat_map(|number| (number / 4096 % 60).to_be_bytes()).collect();
    let text: Vec<u8> =
        (0..30_000).flat_map(|number| format!("row {number} of {}\n", number % 77).into_bytes()).collect();
    let mut state = 7u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(300_000)
    .collect();
    [pages, text, noise, Vec::new()]
}

fn compressed(command: &[&str], content: &[u8]) -> Vec<u8> {
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", command[0]));
    let mut input = child.stdin.take().unwrap();
    let content = content.to_vec();
    let writing = std::thread::spawn(move || input.write_all(&content));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    assert!(output.status.success(), "{command:?}");
    output.stdout
}

/// One member in chunks as large as a tool may make them.
fn member(path: &str, data: &[u8]) -> Vec<u8> {
    let head = |kind| [b"XBSTCK01\0".as_slice(), &[kind], &(path.len() as u32).to_le_bytes(), path.as_bytes()].concat();
    let mut stream = Vec::new();
    for (number, data) in data.chunks(100_003).enumerate() {
        let numbers = [(data.len() as u64).to_le_bytes(), (number as u64 * 100_003).to_le_bytes()].concat();
        stream.extend([head(b'P'), numbers, crc32fast::hash(data).to_le_bytes().to_vec(), data.to_vec()].concat());
    }
    stream.extend(head(b'E'));
    stream
}

fn come_back(suffix: &str, commands: &[&[&str]]) {
    for (number, content) in contents().iter().enumerate() {
        for command in commands {
            let stream = member(&format!("d/f{suffix}"), &compressed(command, content));
            let directory = tempfile::tempdir().unwrap();
            unpack(Format::XbstreamPercona, stream.as_slice(), directory.path())
                .unwrap_or_else(|error| panic!("{command:?}, content {number}: {error}"));
            let unpacked = std::fs::read(directory.path().join("d/f")).unwrap();
            assert!(unpacked == *content, "{command:?}, content {number}");
        }
    }
}

#[test]
fn of_zstd() {
    come_back(
        ".zst",
        &[
            &["zstd", "-q", "-1"],
            &["zstd", "-q", "-19"],
            &["zstd", "-q", "-3", "--no-check"],
            &["zstd", "-q", "--fast=5", "--no-content-size"],
            &["zstd", "-q", "-1", "-T2", "-B65536"],
            &["zstd", "-q", "--long=23"],
        ],
    );
}

#[test]
fn of_lz4() {
    come_back(
        ".lz4",
        &[
            &["lz4", "-q", "-1"],
            &["lz4", "-q", "-9"],
            &["lz4", "-q", "-B4", "-BD"],
            &["lz4", "-q", "-B4", "-BX"],
            &["lz4", "-q", "-B5", "-BD", "-BX"],
            &["lz4", "-q", "-B6", "--no-frame-crc"],
            &["lz4", "-q", "-B7", "-BD", "-12"],
        ],
    );
}

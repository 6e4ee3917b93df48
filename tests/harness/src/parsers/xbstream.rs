//! Both kinds of xbstream.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use mysqlset::unpack::{Format, Summary};

use super::stage;
use crate::xbstream::{self as plain, Chunk, Field};

/// Longer files are compared by their length: a hole can make one from a few bytes.
const COMPARED: u64 = 1 << 20;

/// XtraBackup's kind.
pub fn xbstream_percona(data: &[u8]) {
    xbstream(Format::XbstreamPercona, data);
}

/// mariadb-backup's kind.
pub fn xbstream_mariadb(data: &[u8]) {
    xbstream(Format::XbstreamMariaDb, data);
}

/// An accepted stream is whole, its checksums are right, and its files equal those of the plain reading. If only the
/// checksums are wrong they are corrected, because random bytes would fail them.
fn xbstream(format: Format, data: &[u8]) {
    let chunks = plain::chunks(format, data);
    let mut mended = data.to_vec();
    for chunk in &chunks {
        if let (Some(range), Some((_, right))) = (chunk.find(Field::Checksum), chunk.checksums(data)) {
            mended[range].copy_from_slice(&right.to_le_bytes());
        }
    }
    let whole = chunks.last().map_or(0, |chunk| chunk.at.end) == data.len();
    let taken = stage::unpacked(format, data, |summary, directory| compare(format, data, &chunks, summary, directory));
    assert!(taken.is_err() || (whole && mended == data), "a stream that is cut or damaged was taken");
    if mended != data {
        let taken = stage::unpacked(format, &mended, |summary, directory| {
            compare(format, &mended, &chunks, summary, directory);
        });
        assert!(taken.is_err() || whole, "a stream that is cut was taken");
    }
}

fn compare(format: Format, stream: &[u8], chunks: &[Chunk], summary: &Summary, directory: &Path) {
    assert_eq!(summary.files, chunks.iter().filter(|chunk| chunk.kind == b'E').count() as u64);
    let expected = plain::files(format, stream);
    assert_eq!(stage::files(directory).len(), expected.len());
    for (name, contents) in &expected {
        let parts = name.split(|byte| *byte == b'/');
        assert!(parts.clone().all(|part| !matches!(part, b"" | b"." | b"..")), "{}", name.escape_ascii());
        let path = directory.join(OsStr::from_bytes(name));
        let found = fs::symlink_metadata(&path).unwrap();
        assert!(found.is_file() && found.len() == contents.length, "{}", name.escape_ascii());
        if contents.length <= COMPARED {
            assert!(fs::read(&path).unwrap() == contents.bytes(stream), "{}", name.escape_ascii());
        }
    }
}

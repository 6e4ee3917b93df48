//! Small backups with every type of chunk, from which the breaks are made; and the outcome of unpacking.

use std::collections::BTreeMap;
use std::path::Path;

use harness::xbstream::write::{REWRITE, end, file, payload, remove, rename, seek, sparse};
use mysqlset::unpack::{Format, Summary, unpack};

use crate::tree::Tree;

pub const FORMATS: [Format; 2] = [Format::XbstreamMariaDb, Format::XbstreamPercona];

const METADATA: [&str; 2] = ["xtrabackup_checkpoints", "xtrabackup_info"];

/// A whole backup, chunk by chunk.
pub fn backup(format: Format) -> Vec<Vec<u8>> {
    let special = match format {
        Format::XbstreamMariaDb => maria_db(),
        Format::XbstreamPercona => percona(),
        Format::Tar => return tar(),
    };
    let interleaved = vec![
        payload(0, b"db/t.ibd", 0, b"the first of t, "),
        payload(0, b"ibdata1", 0, b"of the system"),
        payload(0, b"db/t.ibd", 16, b"the second of t"),
        end(b"db/t.ibd"),
        payload(0, b"ibdata1", 13, b""),
        end(b"ibdata1"),
        end(b"db/empty.MYD"),
    ];
    let metadata = METADATA.map(|name| file(name.as_bytes(), b"x = y"));
    [interleaved, special, metadata.concat()].concat()
}

/// A header that is patched, and tables that are altered during the backup.
fn maria_db() -> Vec<Vec<u8>> {
    [
        vec![payload(0, b"aria_log.00000001", 0, b"header, records"), seek(b"aria_log.00000001", 0)],
        vec![payload(0, b"aria_log.00000001", 0, b"HEADER"), end(b"aria_log.00000001")],
        file(b"db/a.MAD", b"old"),
        vec![rename(b"db/a.MAD", b"db/b.MAD")],
        file(b"db/c.MAD", b"dropped"),
        vec![
            remove(b"db/c.MAD"),
            payload(REWRITE, b"db/b.MAD", 0, b"new,"),
            payload(REWRITE, b"db/b.MAD", 4, b" newer"),
        ],
        vec![end(b"db/b.MAD")],
    ]
    .concat()
}

/// Tables with compressed pages.
fn percona() -> Vec<Vec<u8>> {
    vec![
        payload(0, b"db/s.ibd", 0, b"page"),
        sparse(b"db/s.ibd", 4, &[(12, 3), (13, 2), (30, 0)], b"oneto"),
        payload(0, b"db/s.ibd", 64, b"page"),
        sparse(b"db/s.ibd", 68, &[(0, 1), (15, 0)], b"x"),
        end(b"db/s.ibd"),
    ]
}

/// Headers, data and the end, each by itself.
fn tar() -> Vec<Vec<u8>> {
    let members = [("ibdata1", "of the system"), ("db/t.ibd", "a table")].into_iter();
    let members = members.chain(METADATA.map(|name| (name, "x = y"))).flat_map(|(name, data)| {
        let mut header = tar::Header::new_ustar();
        header.set_path(name).unwrap();
        header.set_size(data.len() as u64);
        header.set_mode(0o660);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        let mut block = [0; 512];
        block[..data.len()].copy_from_slice(data.as_bytes());
        [header.as_bytes().to_vec(), block.to_vec()]
    });
    members.chain([vec![0; 1024]]).collect()
}

/// A directory for the many small trees of the breaks.
pub fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("mysqlset-differential-").tempdir_in(place).unwrap()
}

/// The files that a stream unpacks to, if it counts as a whole backup.
pub fn unpacked(format: Format, stream: &[u8]) -> Result<Tree, String> {
    let directory = scratch();
    let summary = unpack(format, stream, directory.path());
    let whole = summary.and_then(|summary: Summary| summary.require_backup_metadata());
    whole.map(|()| Tree::read(directory.path())).map_err(|error| error.to_string())
}

#[test]
fn the_samples_are_whole() {
    for format in FORMATS {
        let stream = backup(format).concat();
        let expected: BTreeMap<String, Vec<u8>> = harness::xbstream::files(format, &stream)
            .into_iter()
            .map(|(name, contents)| (String::from_utf8(name).unwrap(), contents.bytes(&stream)))
            .collect();
        assert_eq!(unpacked(format, &stream).unwrap().files, expected, "{format}");
    }
}

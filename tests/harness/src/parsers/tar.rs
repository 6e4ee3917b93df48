//! tar.

use std::fs;
use std::path::Path;

use mysqlset::unpack::{Format, Summary};

use super::stage;

const BLOCK: usize = 512;

/// An accepted archive ends with two blocks of zeros, and its files have contents from it. Wrong checksums of headers
/// are corrected first, because random bytes would fail them.
pub fn tar(data: &[u8]) {
    check(data);
    let mended = mended(data);
    if mended != data {
        check(&mended);
    }
}

fn check(data: &[u8]) {
    let taken = stage::unpacked(Format::Tar, data, |summary, directory| compare(data, summary, directory));
    let zeros = data.iter().rev().take_while(|byte| **byte == 0).count();
    let whole = zeros >= 2 * BLOCK && data.len().is_multiple_of(BLOCK);
    assert!(taken.is_err() || whole, "an archive without its end was taken");
}

fn compare(data: &[u8], summary: &Summary, directory: &Path) {
    let files = stage::files(directory);
    assert_eq!(summary.files, files.len() as u64);
    for path in files {
        let contents = fs::read(directory.join(&path)).unwrap();
        let comes = contents.is_empty()
            || data.chunks(BLOCK).enumerate().any(|(block, _)| data[block * BLOCK..].starts_with(&contents));
        assert!(comes, "{} holds foreign content", path.display());
    }
}

/// The checksum of each header is the sum of its bytes, with spaces in its own place, in octal.
fn mended(data: &[u8]) -> Vec<u8> {
    let mut mended = data.to_vec();
    let mut at = 0;
    while let Some(header) = mended.get_mut(at..at + BLOCK) {
        at += BLOCK;
        if header.iter().all(|byte| *byte == 0) {
            continue;
        }
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        let size = header[124..136].iter().filter(|byte| (b'0'..b'8').contains(byte));
        let size = size.fold(0usize, |size, digit| size.saturating_mul(8).saturating_add(usize::from(digit - b'0')));
        at = at.saturating_add(size.min(data.len()).next_multiple_of(BLOCK));
    }
    mended
}

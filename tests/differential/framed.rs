//! The whole chain of a clone: a backup in the frames of the wire, with its digest and end mark, through [`DataReader`]
//! into files. Every break is refused. The digest covers the whole stream or, as between today's peers, the heads of
//! its chunks. (A tar's digest always covers the whole: nothing else protects its data.)

use std::ops::Range;
use std::path::Path;

use harness::xbstream::{self, Field};
use mysqlset::protocol::data::{DataReader, DataWriter};
use mysqlset::protocol::digest::Coverage;
use mysqlset::protocol::frame::HEADER_LENGTH;
use mysqlset::unpack::{Format, Writing, unpack_by};

use crate::sample::{FORMATS, backup, scratch};
use crate::tree::Tree;

const COVERAGES: [Coverage; 2] = [Coverage::Whole, Coverage::Heads];

/// A backup as a donor sends it, a chunk in each frame, heartbeats between them.
fn sent(coverage: Coverage, format: Format, chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = DataWriter::covering(coverage, &mut bytes);
    for (number, chunk) in chunks.iter().enumerate() {
        if number % 7 == 0 {
            writer.heartbeat().unwrap();
        }
        match coverage {
            Coverage::Whole => drop(writer.relay_once(&mut chunk.as_slice()).unwrap().unwrap()),
            Coverage::Heads => gather_chunks(&mut writer, format, chunk),
        }
    }
    writer.end(Some("binlog.000001 4".into())).unwrap();
    bytes
}

/// Chunks with a checksum are distinguished from chunks without one.
fn gather_chunks(writer: &mut DataWriter<&mut Vec<u8>>, format: Format, chunks: &[u8]) {
    for chunk in xbstream::chunks(format, chunks) {
        let data = chunk.find(Field::Data).unwrap_or(chunk.at.end..chunk.at.end);
        writer.gather(&chunks[chunk.at.start..data.start], false).unwrap();
        writer.gather(&chunks[data.clone()], true).unwrap();
        writer.gather(&chunks[data.end..chunk.at.end], false).unwrap();
    }
    writer.flush().unwrap();
}

/// The recipient's outcome for these bytes.
fn received(coverage: Coverage, format: Format, bytes: &[u8]) -> Result<Tree, String> {
    let directory = scratch();
    received_into(directory.path(), coverage, format, bytes)?;
    Ok(Tree::read(directory.path()))
}

fn received_into(directory: &Path, coverage: Coverage, format: Format, bytes: &[u8]) -> Result<(), String> {
    let mut data = DataReader::covering(coverage, bytes);
    let unpacked = unpack_by(Writing::default(), format, &mut data, directory);
    let summary = unpacked.map_err(|error| error.to_string())?;
    data.finish().map_err(|error| error.to_string())?;
    summary.require_backup_metadata().map_err(|error| error.to_string())
}

/// A backup of a hostile donor: the digest is right.
pub fn from_a_donor(directory: &Path, format: Format, chunks: &[Vec<u8>]) -> Result<(), String> {
    received_into(directory, Coverage::Whole, format, &sent(Coverage::Whole, format, chunks))
}

/// A backup that changed after the donor digested it.
#[track_caller]
pub fn must_refuse(format: Format, digested: &[u8], arrived: &[u8]) {
    let end_of = |bytes: &[u8]| frames(bytes).pop().unwrap();
    // Its heads may be unrecognisable by now: then only its end mark has a digest.
    let arrived = sent(Coverage::Whole, format, &[arrived.to_vec()]);
    for coverage in COVERAGES {
        let digested = sent(coverage, format, &[digested.to_vec()]);
        let damaged = [&arrived[..end_of(&arrived).start], &digested[end_of(&digested)]].concat();
        let error = received(coverage, format, &damaged).expect_err("another backup than the one that was sent");
        assert!(error.contains("damaged"), "{error}");
    }
}

/// The place of each frame.
fn frames(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut frames: Vec<Range<usize>> = Vec::new();
    while let Some(header) =
        bytes.get(frames.last().map_or(0, |frame| frame.end)..).and_then(|rest| rest.get(..HEADER_LENGTH))
    {
        let start = frames.last().map_or(0, |frame| frame.end);
        let length = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
        frames.push(start..start + HEADER_LENGTH + length);
    }
    frames
}

/// Each sample as it is sent, and its frames.
fn samples() -> impl Iterator<Item = (Coverage, Format, Vec<u8>, Vec<Range<usize>>)> {
    let xbstreams = COVERAGES.into_iter().flat_map(|coverage| FORMATS.map(|format| (coverage, format)));
    xbstreams.chain([(Coverage::Whole, Format::Tar)]).map(|(coverage, format)| {
        let bytes = sent(coverage, format, &backup(format));
        let frames = frames(&bytes);
        (coverage, format, bytes, frames)
    })
}

#[test]
fn the_samples_come_whole() {
    for (coverage, format, bytes, frames) in samples() {
        assert_eq!(frames.last().unwrap().end, bytes.len());
        assert_eq!(received(coverage, format, &bytes), crate::sample::unpacked(format, &backup(format).concat()));
    }
}

fn cuts(places: impl Fn(&Range<usize>) -> Range<usize>) {
    for (coverage, format, bytes, frames) in samples() {
        for at in frames.iter().flat_map(&places) {
            let error = received(coverage, format, &bytes[..at]).expect_err("a cut");
            assert!(error.contains("hung up"), "{coverage:?}, {format}, cut at {at}: {error}");
        }
    }
}

#[test]
fn cut_at_each_boundary_of_frames() {
    cuts(|frame| frame.start..frame.start + 1);
}

#[test]
fn cut_inside_each_header() {
    cuts(|frame| frame.start + 1..frame.start + HEADER_LENGTH);
}

#[test]
fn cut_inside_each_body() {
    cuts(|frame| frame.start + HEADER_LENGTH..frame.end);
}

/// The bits that are flipped in a byte: one for a tar, which is long because of its padding.
fn bits(format: Format, at: usize) -> Range<usize> {
    if format == Format::Tar { at % 8..at % 8 + 1 } else { 0..8 }
}

/// Flips each bit at these places in frames of some kinds. `harmless` says whether a flip without effect is accepted.
fn flips(kinds: &[u8], places: impl Fn(&Range<usize>) -> Range<usize>, harmless: bool) {
    for (coverage, format, bytes, frames) in samples() {
        let good = received(coverage, format, &bytes);
        for frame in frames.iter().filter(|frame| kinds.contains(&bytes[frame.start])) {
            for (at, bit) in places(frame).flat_map(|at| bits(format, at).map(move |bit| (at, bit))) {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                let received = received(coverage, format, &damaged);
                assert!(
                    received.is_err() || (harmless && received == good),
                    "{coverage:?}, {format}: bit {bit} at {at}"
                );
            }
        }
    }
}

#[test]
fn a_bit_of_a_frames_kind() {
    flips(b"DBE", |frame| frame.start..frame.start + 1, false);
}

#[test]
fn a_bit_of_a_frames_zeros() {
    flips(b"DBE", |frame| frame.start + 1..frame.start + 4, false);
}

#[test]
fn a_bit_of_a_frames_length() {
    flips(b"DBE", |frame| frame.start + 4..frame.start + HEADER_LENGTH, false);
}

#[test]
fn a_bit_of_the_data() {
    flips(b"D", |frame| frame.start + HEADER_LENGTH..frame.end, false);
}

#[test]
fn a_bit_of_a_heartbeat_or_of_the_end_mark_is_refused_where_it_makes_a_difference() {
    flips(b"BE", |frame| frame.start + HEADER_LENGTH..frame.end, true);
}

/// Sends the frames in another order or number. Wherever that changes the content, the recipient must refuse it.
fn rearranged(change: impl Fn(&mut Vec<Range<usize>>, usize)) {
    for (coverage, format, bytes, frames) in samples() {
        let good = received(coverage, format, &bytes);
        for number in 0..frames.len() {
            let mut changed = frames.clone();
            change(&mut changed, number);
            let data = |frames: &[Range<usize>]| {
                let end = frames.iter().position(|frame| bytes[frame.start] == b'E');
                let read = frames[..end.unwrap_or(0)].iter().filter(|frame| bytes[frame.start] == b'D');
                read.map(|frame| bytes[frame.clone()].to_vec()).collect::<Vec<_>>()
            };
            let arrived: Vec<u8> = changed.iter().flat_map(|frame| bytes[frame.clone()].to_vec()).collect();
            let received = received(coverage, format, &arrived);
            if data(&changed) == data(&frames) {
                assert_eq!(received, good, "{coverage:?}, {format}: frame {number}, a heartbeat or behind the end");
            } else {
                assert!(received.is_err(), "{coverage:?}, {format}: frame {number}");
            }
        }
    }
}

#[test]
fn a_frame_that_comes_twice() {
    rearranged(|frames, number| frames.insert(number, frames[number].clone()));
}

#[test]
fn a_frame_that_is_missing() {
    rearranged(|frames, number| {
        frames.remove(number);
    });
}

#[test]
fn two_frames_in_the_wrong_order() {
    rearranged(|frames, number| {
        let other = (number + 1).min(frames.len() - 1);
        frames.swap(number, other);
    });
}

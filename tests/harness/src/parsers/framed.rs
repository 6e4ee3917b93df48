//! An xbstream in frames whose digest covers the heads of its chunks, as between today's peers.

use mysqlset::protocol::data::DataReader;
use mysqlset::protocol::digest::Coverage;
use mysqlset::protocol::frame::{self, Kind};
use mysqlset::unpack::{Format, UnpackError, Writing, unpack_by};
use serde_json::json;
use xxhash_rust::xxh3::xxh3_128;

use super::stage;
use crate::xbstream::{self as plain, Field};

/// The frames are accepted if the stream is accepted without frames and its end mark is true. They are refused after a
/// cut or a flipped bit.
pub fn framed_xbstream(data: &[u8]) {
    const FORMAT: Format = Format::XbstreamMariaDb;
    let is_taken = stage::unpacked(FORMAT, data, |_, _| {}).is_ok();
    let piece = 1 + data.len() % 97;
    let mut frames: Vec<u8> = Vec::new();
    for body in data.chunks(piece) {
        frames.extend(frame::header_bytes(Kind::Data, body.len()));
        frames.extend(body);
    }
    let end = end_mark(FORMAT, data);
    let whole = [frames.as_slice(), &end].concat();
    assert_eq!(received(FORMAT, &whole).is_ok(), is_taken);
    if !is_taken || frames.is_empty() {
        return;
    }
    let chance = crc32fast::hash(data) as usize;
    assert!(received(FORMAT, &whole[..chance % whole.len()]).is_err(), "a cut stream was accepted");
    let mut damaged = whole;
    damaged[chance % frames.len()] ^= 1 << ((chance >> 8) % 8);
    assert!(received(FORMAT, &damaged).is_err(), "a stream with a flipped bit was accepted");
}

fn received(format: Format, bytes: &[u8]) -> Result<(), UnpackError> {
    let mut data = DataReader::covering(Coverage::Heads, bytes);
    let unpacked = stage::unpacked_by(|stage| unpack_by(Writing::default(), format, &mut data, stage), |_, _| {});
    unpacked?;
    data.finish().map_err(|error| UnpackError::Malformed(error.to_string()))?;
    Ok(())
}

/// The end mark that a donor would send after this stream.
fn end_mark(format: Format, data: &[u8]) -> Vec<u8> {
    let mut heads = Vec::new();
    let mut seen = 0;
    for chunk in plain::chunks(format, data) {
        let covered = chunk.find(Field::Data).unwrap_or(chunk.at.end..chunk.at.end);
        heads.extend(&data[seen..covered.start]);
        seen = covered.end;
    }
    heads.extend(&data[seen..]);
    let digest = format!("{:032x}", xxh3_128(&heads));
    let end = json!({ "bytes": data.len(), "digest": digest, "tool_status": 0 });
    frame::write_control(&mut Vec::new(), Kind::End, &end).unwrap()
}

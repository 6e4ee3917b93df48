//! The stream in its frames: whole, or noticed not to be.

use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex};

use super::*;
use crate::protocol::digest::Coverage;
use crate::protocol::frame::{self, Kind, WireError};
use crate::protocol::inventory::MOST_BYTES;
use crate::unpack::Source;

fn stream(content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = DataWriter::new(&mut bytes);
    writer.heartbeat().unwrap();
    for mut piece in content.chunks(7) {
        writer.relay_once(&mut piece).unwrap().unwrap();
    }
    writer.end(None).unwrap();
    bytes
}

fn read(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut reader = DataReader::new(bytes);
    let mut content = Vec::new();
    reader.read_to_end(&mut content).map_err(|error| error.to_string())?;
    reader.finish().map_err(|error| error.to_string())?;
    Ok(content)
}

#[test]
fn comes_whole_through_its_frames() {
    assert_eq!(read(&stream(b"a backup of some length")).unwrap(), b"a backup of some length");
    assert_eq!(read(&stream(b"")).unwrap(), b"");
}

#[test]
fn every_cut_is_noticed() {
    let bytes = stream(b"a backup of some length");
    for length in 0..bytes.len() {
        let error = read(&bytes[..length]).unwrap_err();
        assert!(error.contains("hung up"), "cut at {length}: {error}");
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let content = b"a backup of some length";
    let bytes = stream(content);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            // A heartbeat's number, or a name of a member that may be missing, says nothing about the backup.
            assert!(read(&damaged).map_or(true, |read| read == content), "byte {at}, bit {bit}");
        }
    }
}

/// One thing of the end mark is wrong, the rest is right.
#[test]
fn an_end_mark_that_lies_is_refused() {
    let ended_with = |bytes: u64, digest: &str, tool_status: i32| {
        let mut stream = b"D\0\0\0\x03\0\0\0abc".to_vec();
        let end = serde_json::json!({ "bytes": bytes, "digest": digest, "tool_status": tool_status });
        stream.extend(frame::write_control(&mut Vec::new(), Kind::End, &end).unwrap());
        read(&stream)
    };
    let digest = "06b05ab6733a618578af5f94892f3950";
    assert_eq!(ended_with(3, digest, 0).unwrap(), b"abc");
    for bytes in [2, 4, 0, u64::MAX] {
        assert!(ended_with(bytes, digest, 0).unwrap_err().contains(&format!("{bytes} bytes were sent, 3 came")));
    }
    assert!(ended_with(3, "06b05ab6733a618578af5f94892f3951", 0).unwrap_err().contains("its digest is"));
    assert!(ended_with(3, "", 0).unwrap_err().contains("its digest is"));
    assert!(ended_with(3, digest, 1).unwrap_err().contains("the backup tool ended with 1"));
}

#[test]
fn a_writer_that_is_dropped_has_not_ended_the_stream() {
    let mut bytes = Vec::new();
    let mut writer = DataWriter::new(&mut bytes);
    writer.relay_once(&mut &b"all of it"[..]).unwrap().unwrap();
    drop(writer);
    assert!(read(&bytes).unwrap_err().contains("hung up"));
}

#[test]
fn a_donor_that_gives_up_says_why() {
    let mut bytes = Vec::new();
    let mut writer = DataWriter::new(&mut bytes);
    writer.relay_once(&mut &b"some"[..]).unwrap().unwrap();
    writer.failed("the server went away".into()).unwrap();
    assert!(read(&bytes).unwrap_err().contains("the server went away"));
}

#[test]
fn data_after_the_end_of_what_was_unpacked_is_refused() {
    let bytes = stream(b"unpacked, and more");
    let mut reader = DataReader::new(bytes.as_slice());
    reader.read_exact(&mut [0; 8]).unwrap();
    assert!(matches!(reader.finish(), Err(WireError::Malformed(_))));
}

/// Packed where that is shorter, and plain.
fn packed_stream(content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = DataWriter::new(&mut bytes);
    writer.set_limit(1000);
    writer.set_packing(true).unwrap();
    writer.gather(content, false).unwrap();
    writer.set_packing(false).unwrap();
    writer.gather(b"plain", false).unwrap();
    writer.end(None).unwrap();
    bytes
}

fn read_packed(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut reader = DataReader::new(bytes).allow_packed().unwrap();
    let mut content = Vec::new();
    reader.read_to_end(&mut content).map_err(|error| error.to_string())?;
    reader.finish().map_err(|error| error.to_string())?;
    Ok(content)
}

#[test]
fn packed_frames_come_whole_to_who_asked_for_them() {
    let content = b"pages much like each other, ".repeat(100);
    let bytes = packed_stream(&content);
    assert!(bytes.len() < content.len() / 3);
    assert_eq!(read_packed(&bytes).unwrap(), [content, b"plain".to_vec()].concat());
    assert!(read(&bytes).unwrap_err().contains("not asked for"));
}

#[test]
fn every_cut_and_every_flipped_bit_of_packed_frames_is_noticed() {
    let content = b"pages much like each other, ".repeat(20);
    let bytes = packed_stream(&content);
    let whole = read_packed(&bytes).unwrap();
    for length in 0..bytes.len() {
        assert!(read_packed(&bytes[..length]).unwrap_err().contains("hung up"), "cut at {length}");
    }
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            assert!(read_packed(&damaged).map_or(true, |read| read == whole), "byte {at}, bit {bit}");
        }
    }
}

/// Heads and data of two chunks, the second of which goes by unseen.
fn stream_of_heads() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = DataWriter::covering(Coverage::Heads, &mut bytes);
    writer.gather(b"head", false).unwrap();
    writer.gather(b"small data", true).unwrap();
    writer.gather(b"HEAD", false).unwrap();
    writer.announce(8).unwrap().extend_from_slice(b"big data");
    writer.end(None).unwrap();
    bytes
}

fn read_heads(bytes: &[u8]) -> Result<String, WireError> {
    let mut reader = DataReader::covering(Coverage::Heads, bytes);
    let mut content = [0; 26];
    let broken = |_| WireError::Ended("early");
    reader.read_exact(&mut content[..4]).map_err(broken)?;
    take_checksummed(&mut reader, &mut content[4..14]).map_err(broken)?;
    reader.read_exact(&mut content[14..18]).map_err(broken)?;
    take_checksummed(&mut reader, &mut content[18..]).map_err(broken)?;
    reader.finish()?;
    Ok(String::from_utf8_lossy(&content).into_owned())
}

fn take_checksummed(source: &mut impl Source, mut buffer: &mut [u8]) -> std::io::Result<()> {
    while !buffer.is_empty() {
        match source.read_checksummed(buffer)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            count => buffer = &mut buffer[count..],
        }
    }
    Ok(())
}

#[test]
fn a_digest_of_heads_covers_them_and_leaves_the_data_to_their_checksums() {
    let bytes = stream_of_heads();
    assert_eq!(read_heads(&bytes).unwrap(), "headsmall dataHEADbig data");
    let damaged = |what: &str| {
        let at = bytes.windows(what.len()).position(|window| window == what.as_bytes()).unwrap();
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        read_heads(&damaged)
    };
    for head in ["head", "HEAD"] {
        assert!(matches!(damaged(head), Err(WireError::Malformed(_))), "{head}");
    }
    for data in ["small data", "big data"] {
        assert!(damaged(data).is_ok(), "{data} has a checksum of its own");
    }
    assert!(read(&bytes).unwrap_err().contains("its digest is"), "read as if all were covered");
}

/// A stream of three bytes, and an inventory in two frames.
fn stream_with_inventory() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = DataWriter::new(&mut bytes);
    writer.gather(b"abc", false).unwrap();
    writer.send_inventory(b"what is ").unwrap();
    writer.heartbeat().unwrap();
    writer.send_inventory(b"there").unwrap();
    writer.end(None).unwrap();
    bytes
}

/// Where an inventory was written to.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The stream's bytes, and the inventory.
fn read_with_inventory(bytes: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
    let (mut reader, written, mut content) = (DataReader::new(bytes), Written::default(), Vec::new());
    reader.collect_inventory(written.clone());
    reader.read_to_end(&mut content).map_err(|error| error.to_string())?;
    reader.finish().map_err(|error| error.to_string())?;
    let inventory = written.0.lock().unwrap().clone();
    Ok((content, inventory))
}

#[test]
fn an_inventory_comes_beside_the_stream() {
    let whole = read_with_inventory(&stream_with_inventory()).unwrap();
    assert_eq!(whole, (b"abc".to_vec(), b"what is there".to_vec()));
}

#[test]
fn an_inventory_that_was_offered_and_does_not_come_is_missed() {
    assert!(read_with_inventory(&stream(b"abc")).unwrap_err().contains("its inventory is missing"));
}

#[test]
fn an_inventory_that_was_not_offered_is_refused() {
    assert!(read(&stream_with_inventory()).unwrap_err().contains("which was not offered"));
}

#[test]
fn every_cut_and_every_flipped_bit_of_an_inventory_is_noticed() {
    let bytes = stream_with_inventory();
    let whole = read_with_inventory(&bytes).unwrap();
    for length in 0..bytes.len() {
        assert!(read_with_inventory(&bytes[..length]).unwrap_err().contains("hung up"), "cut at {length}");
    }
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            assert!(read_with_inventory(&damaged).map_or(true, |read| read == whole), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn data_behind_an_inventory_are_refused() {
    let mut bytes = Vec::new();
    let mut writer = DataWriter::new(&mut bytes);
    writer.send_inventory(b"x").unwrap();
    writer.gather(b"abc", false).unwrap();
    writer.end(None).unwrap();
    assert!(read_with_inventory(&bytes).unwrap_err().contains("more of the backup behind its inventory"));
}

#[test]
fn an_inventory_has_a_longest_length() {
    let mut bytes = Vec::new();
    let mut writer = DataWriter::new(&mut bytes);
    writer.send_inventory(&vec![7; MOST_BYTES as usize + 1]).unwrap();
    writer.end(None).unwrap();
    assert!(read_with_inventory(&bytes).unwrap_err().contains("an inventory of more than"));
}

/// A full volume is the recipient's own.
#[test]
fn an_inventory_that_can_not_be_written_is_told_from_one_that_is_damaged() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let bytes = stream_with_inventory();
    let mut reader = DataReader::new(bytes.as_slice());
    reader.collect_inventory(Full);
    let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
    assert!(
        matches!(error.downcast::<WireError>(), Ok(WireError::Inventory(error)) if error.kind() == io::ErrorKind::StorageFull)
    );
}

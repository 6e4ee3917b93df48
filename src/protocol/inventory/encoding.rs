//! Encodes an inventory for the wire and for the stage. All integers are little-endian.
//!
//! ```text
//!  0          8       9            13
//! ┌──────────┬───────┬────────────┬─────────┬──   ──┐
//! │"MSETINV1"│ flags │ count u32  │ entry   │  …    │   flags: 1 where the server keeps definitions
//! └──────────┴───────┴────────────┴─────────┴──   ──┘
//!
//!  entry
//! ┌──────┬────────────┬──────┐
//! │ kind │ length u16 │ path │ and then, by the kind:
//! └──────┴────────────┴──────┘
//!   F  file               u32 its length, ffffffff for unknown
//!   S  system tablespace  nothing
//!   U  undo tablespace    nothing
//!   T  tablespace         u32 id, u32 its definition's length (ffffffff for a changed one, fffffffe for none known),
//!                         u16 length and path of its later name, or length 0 for the same name
//! ```

use std::io::{self, ErrorKind, Read};

use super::{Definition, Entry, Inventory, Kind, MOST_BYTES, MOST_ENTRIES};
use crate::unpack::path::MemberPath;

/// The name of this encoding in hellos and offers.
pub const NAME: &str = "tables-1";

const MAGIC: &[u8; 8] = b"MSETINV1";

const KEEPS_DEFINITIONS: u8 = 1;

const FILE: u8 = b'F';
const SYSTEM: u8 = b'S';
const UNDO: u8 = b'U';
const TABLESPACE: u8 = b'T';

/// Marks an unknown length.
const NOT_KNOWN: u32 = u32::MAX;
const NONE: u32 = u32::MAX - 1;

/// Why decoding failed.
#[derive(Debug, thiserror::Error)]
pub enum Undecodable {
    #[error("cannot read the inventory: {0}")]
    Io(io::Error),
    #[error("the inventory is damaged: {0}")]
    Damaged(String),
}

fn damaged<T>(what: impl Into<String>) -> Result<T, Undecodable> {
    Err(Undecodable::Damaged(what.into()))
}

/// Encodes an inventory. Fails with a message if it is too long.
pub fn encode(inventory: &Inventory) -> Result<Vec<u8>, String> {
    let too_long = || {
        format!(
            "the server holds {} tablespaces and files; an inventory has room for {MOST_ENTRIES} in {} MiB",
            inventory.entries.len(),
            MOST_BYTES >> 20
        )
    };
    if inventory.entries.len() > MOST_ENTRIES {
        return Err(too_long());
    }
    let mut bytes = MAGIC.to_vec();
    bytes.push(if inventory.keeps_definitions { KEEPS_DEFINITIONS } else { 0 });
    bytes.extend((inventory.entries.len() as u32).to_le_bytes());
    for Entry { path, kind } in &inventory.entries {
        bytes.push(match kind {
            Kind::File { .. } => FILE,
            Kind::System => SYSTEM,
            Kind::Undo => UNDO,
            Kind::Tablespace { .. } => TABLESPACE,
        });
        put_path(&mut bytes, Some(path));
        match kind {
            // Defining files are always shorter.
            Kind::File { length } => {
                bytes.extend(length.filter(|length| *length < NONE).unwrap_or(NOT_KNOWN).to_le_bytes())
            }
            Kind::System | Kind::Undo => {}
            Kind::Tablespace { id, renamed_to, definition } => {
                bytes.extend(id.to_le_bytes());
                let definition = match definition {
                    Definition::Unknown => NONE,
                    Definition::Untouched { length } if *length < NONE => *length,
                    Definition::Untouched { .. } | Definition::Changed => NOT_KNOWN,
                };
                bytes.extend(definition.to_le_bytes());
                put_path(&mut bytes, renamed_to.as_ref());
            }
        }
        if bytes.len() as u64 > MOST_BYTES {
            return Err(too_long());
        }
    }
    Ok(bytes)
}

/// A path has at most eight components of 255 bytes.
fn put_path(bytes: &mut Vec<u8>, path: Option<&MemberPath>) {
    let path = path.map_or(&[][..], |path| path.as_os_str().as_encoded_bytes());
    bytes.extend((path.len() as u16).to_le_bytes());
    bytes.extend(path);
}

/// Decodes an inventory and requires its end after the last entry.
pub fn decode(input: impl Read) -> Result<Inventory, Undecodable> {
    let mut entries = Vec::new();
    let keeps_definitions = each_entry(input, |entry| entries.push(entry))?;
    Ok(Inventory { keeps_definitions, entries })
}

/// Visits each entry of an inventory in turn, without storing them all. Returns whether the server keeps
/// definitions.
pub fn each_entry(input: impl Read, mut look: impl FnMut(Entry)) -> Result<bool, Undecodable> {
    let mut input = input.take(MOST_BYTES + 1);
    let mut head = [0; 13];
    fill(&mut input, &mut head)?;
    let [magic @ .., flags, a, b, c, d] = head;
    if &magic != MAGIC {
        return damaged("it has a wrong signature");
    }
    if flags & !KEEPS_DEFINITIONS != 0 {
        return damaged(format!("unknown flags {flags:#04x}"));
    }
    let count = u32::from_le_bytes([a, b, c, d]) as usize;
    if count > MOST_ENTRIES {
        return damaged(format!("{count} entries; {MOST_ENTRIES} are allowed"));
    }
    for _ in 0..count {
        look(entry(&mut input)?);
    }
    match input.read(&mut [0]) {
        Ok(0) => Ok(flags & KEEPS_DEFINITIONS != 0),
        Ok(_) => damaged("there are bytes after its last entry"),
        Err(error) => Err(Undecodable::Io(error)),
    }
}

fn entry(input: &mut impl Read) -> Result<Entry, Undecodable> {
    let mut kind = [0];
    fill(input, &mut kind)?;
    let Some(path) = path(input)? else { return damaged("an entry without a path") };
    let kind = match kind[0] {
        FILE => match number(input)? {
            NOT_KNOWN => Kind::File { length: None },
            NONE => return damaged("a file of reserved length"),
            length => Kind::File { length: Some(length) },
        },
        SYSTEM => Kind::System,
        UNDO => Kind::Undo,
        TABLESPACE => {
            let id = number(input)?;
            if id == 0 {
                return damaged(format!("{path} has the system tablespace's id"));
            }
            let definition = match number(input)? {
                NOT_KNOWN => Definition::Changed,
                NONE => Definition::Unknown,
                length => Definition::Untouched { length },
            };
            Kind::Tablespace { id, definition, renamed_to: self::path(input)? }
        }
        other => return damaged(format!("an entry of unknown kind {other:#04x}")),
    };
    Ok(Entry { path, kind })
}

fn number(input: &mut impl Read) -> Result<u32, Undecodable> {
    let mut bytes = [0; 4];
    fill(input, &mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

/// Checks the path like a member's. `None` for length 0.
fn path(input: &mut impl Read) -> Result<Option<MemberPath>, Undecodable> {
    let mut length = [0; 2];
    fill(input, &mut length)?;
    let length = u16::from_le_bytes(length);
    if length == 0 {
        return Ok(None);
    }
    let mut bytes = vec![0; length.into()];
    fill(input, &mut bytes)?;
    MemberPath::new(&bytes).map(Some).or_else(|error| damaged(error.to_string()))
}

fn fill(input: &mut impl Read, buffer: &mut [u8]) -> Result<(), Undecodable> {
    input.read_exact(buffer).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => Undecodable::Damaged("it is truncated".to_owned()),
        _ => Undecodable::Io(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> MemberPath {
        MemberPath::new(text.as_bytes()).unwrap()
    }

    fn inventory() -> Inventory {
        let tablespace = |id, renamed_to, definition| Kind::Tablespace { id, renamed_to, definition };
        let kinds = [
            ("app/t.ibd", tablespace(7, None, Definition::Untouched { length: 931 })),
            ("app/a.ibd", tablespace(4294967294, Some(path("app/b.ibd")), Definition::Changed)),
            ("app/FTS_1_CONFIG.ibd", tablespace(9, None, Definition::Unknown)),
            ("ibdata1", Kind::System),
            ("undo001", Kind::Undo),
            ("app/db.opt", Kind::File { length: Some(65) }),
            ("app/a.MAD", Kind::File { length: None }),
        ];
        let entries = kinds.into_iter().map(|(name, kind)| Entry { path: path(name), kind }).collect();
        Inventory { keeps_definitions: true, entries }
    }

    fn read(bytes: &[u8]) -> Result<Inventory, String> {
        decode(bytes).map_err(|error| error.to_string())
    }

    /// Decodes the inventory with other bytes at an offset.
    fn changed(at: usize, bytes: &[u8]) -> Result<Inventory, String> {
        let mut encoded = encode(&inventory()).unwrap();
        encoded.splice(at..at + bytes.len(), bytes.iter().copied());
        read(&encoded)
    }

    fn place_of(text: &str) -> usize {
        let encoded = encode(&inventory()).unwrap();
        encoded.windows(text.len()).position(|window| window == text.as_bytes()).unwrap()
    }

    #[test]
    fn decoding_reverses_encoding() {
        assert_eq!(read(&encode(&inventory()).unwrap()).unwrap(), inventory());
        let empty = Inventory { keeps_definitions: false, entries: Vec::new() };
        assert_eq!(read(&encode(&empty).unwrap()).unwrap(), empty);
    }

    /// Donors of this version write what recipients of it read, also in later releases.
    #[test]
    fn the_encoding_is_stable() {
        let mut one = inventory();
        one.entries.truncate(1);
        let bytes = b"MSETINV1\x01\x01\0\0\0T\x09\0app/t.ibd\x07\0\0\0\xa3\x03\0\0\0\0";
        assert_eq!(encode(&one).unwrap(), bytes);
    }

    #[test]
    fn a_truncated_inventory_is_refused() {
        let encoded = encode(&inventory()).unwrap();
        for length in 0..encoded.len() {
            assert!(read(&encoded[..length]).unwrap_err().contains("it is truncated"), "{length}");
        }
    }

    #[test]
    fn bytes_after_an_inventory_are_refused() {
        let encoded = encode(&inventory()).unwrap();
        assert!(read(&[encoded.as_slice(), b"x"].concat()).unwrap_err().contains("after its last entry"));
    }

    #[test]
    fn a_wrong_signature_is_refused() {
        assert!(changed(0, b"X").unwrap_err().contains("wrong signature"));
    }

    #[test]
    fn unknown_flags_are_refused() {
        assert!(changed(8, &[3]).unwrap_err().contains("unknown flags 0x03"));
    }

    #[test]
    fn too_many_entries_are_refused_before_memory_is_allocated() {
        assert!(changed(9, &u32::MAX.to_le_bytes()).unwrap_err().contains("4294967295 entries; 500000 are allowed"));
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        assert!(changed(13, b"X").unwrap_err().contains("unknown kind 0x58"));
    }

    #[test]
    fn an_entry_without_a_path_is_refused() {
        assert!(changed(14, &[0, 0]).unwrap_err().contains("without a path"));
    }

    #[test]
    fn a_path_out_of_the_data_directory_is_refused() {
        assert!(changed(place_of("app/t.ibd"), b"../../ibd").unwrap_err().contains("is refused"));
        assert!(changed(place_of("app/b.ibd"), b"/etc/pass").unwrap_err().contains("is refused"));
    }

    #[test]
    fn the_system_tablespaces_id_is_refused() {
        assert!(changed(place_of("app/t.ibd") + 9, &[0]).unwrap_err().contains("the system tablespace's id"));
    }

    #[test]
    fn a_file_of_reserved_length_is_refused() {
        let at = place_of("app/a.MAD") + 9;
        assert!(changed(at, &NONE.to_le_bytes()).unwrap_err().contains("of reserved length"));
    }

    #[test]
    fn too_many_bytes_are_refused_by_both_sides() {
        let long = "d".repeat(200);
        let entry = |number: usize| Entry { path: path(&format!("{long}/{long}{number}")), kind: Kind::Undo };
        let entries: Vec<Entry> = (0..90_000).map(entry).collect();
        let mut large = Inventory { keeps_definitions: false, entries };
        assert!(encode(&large).unwrap_err().contains("90000 tablespaces and files"));
        large.entries.truncate(80_000);
        let mut encoded = encode(&large).unwrap();
        encoded[9..13].copy_from_slice(&100_000u32.to_le_bytes());
        let tail = encoded[13..].to_vec();
        encoded.extend(tail);
        assert!(read(&encoded).is_err());
    }
}

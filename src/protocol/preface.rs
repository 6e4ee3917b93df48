//! The first bytes of a connection: who speaks, and which versions.

use std::io::{Read, Write};

use super::frame::{WireError, read_exactly};
use crate::unpack::xbstream::chunk;

const MAGIC: &[u8; 8] = b"MYSQLSET";

/// In bytes.
pub const LENGTH: usize = 12;

/// What this program speaks.
pub const OWN: Versions = Versions { highest: 1, lowest: 1 };

/// The versions that one side speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    highest: u16,
    lowest: u16,
}

/// Sends our preface.
pub fn send(output: &mut impl Write) -> Result<(), WireError> {
    output.write_all(&OWN.bytes()).map_err(WireError::Io)
}

/// Reads the peer's preface.
pub fn receive(input: &mut impl Read) -> Result<Versions, WireError> {
    let mut bytes = [0; LENGTH];
    read_exactly(input, &mut bytes)?;
    if &bytes[..8] == chunk::MAGIC {
        return Err(WireError::Bare);
    }
    if &bytes[..8] != MAGIC {
        return Err(WireError::Malformed("the peer is not a mysqlset: its first bytes are others".into()));
    }
    let highest = u16::from_le_bytes([bytes[8], bytes[9]]);
    let lowest = u16::from_le_bytes([bytes[10], bytes[11]]);
    Ok(Versions { highest, lowest })
}

impl Versions {
    /// The preface that says so.
    pub fn bytes(self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..10].copy_from_slice(&self.highest.to_le_bytes());
        bytes[10..].copy_from_slice(&self.lowest.to_le_bytes());
        bytes
    }

    /// The version that a peer with these speaks with us.
    pub fn common_version(self) -> Result<u16, WireError> {
        let Versions { highest, lowest } = self;
        let common = highest.min(OWN.highest);
        if common < lowest || common < OWN.lowest {
            return Err(WireError::Malformed(format!(
                "the peer speaks versions {lowest} to {highest} of the clone protocol, this mysqlset {} to {}: \
                 bring both to versions that meet",
                OWN.lowest, OWN.highest
            )));
        }
        Ok(common)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(highest: u16, lowest: u16) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(highest.to_le_bytes());
        bytes.extend(lowest.to_le_bytes());
        bytes
    }

    #[test]
    fn meets_itself_and_newer_ones_that_still_speak_version_1() {
        let mut own = Vec::new();
        send(&mut own).unwrap();
        assert_eq!(receive(&mut own.as_slice()).unwrap().common_version().unwrap(), 1);
        assert_eq!(receive(&mut peer(7, 1).as_slice()).unwrap().common_version().unwrap(), 1);
    }

    #[test]
    fn refuses_strangers_and_versions_that_do_not_meet() {
        for bytes in [peer(7, 2), peer(0, 0), b"SSH-2.0-OpenSSH_9.2".to_vec()] {
            let version = receive(&mut bytes.as_slice()).and_then(Versions::common_version);
            assert!(matches!(version, Err(WireError::Malformed(_))));
        }
        assert!(matches!(receive(&mut &MAGIC[..]), Err(WireError::Ended(_))));
        assert!(matches!(receive(&mut &b""[..]), Err(WireError::Ended(_))));
    }

    #[test]
    fn a_donor_that_sends_a_backup_without_a_word_is_told_from_strangers() {
        assert!(matches!(receive(&mut &b"XBSTCK01\0P\x07\0\0\0ibdata1"[..]), Err(WireError::Bare)));
    }
}

//! Identifies the log that came with a backup, and checks that it is untouched. While it is untouched, a prepare can
//! repeat everything, so changes by a killed prepare are harmless.
//!
//! mariadb-backup replaces its log by an empty one only after everything was applied. (Seen in 40 kills at 5 to 98 % of
//! a prepare, each followed by a whole one.) XtraBackup renames its own at the start.

use std::io::{ErrorKind, Read};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::sys::disk::disk_error;
use crate::sys::held_directory::Directory;

/// XtraBackup's, and mariadb-backup's. An interrupted prepare of XtraBackup's makes the second one too.
const NAMES: [&str; 2] = ["xtrabackup_logfile", "ib_logfile0"];

/// Bytes read at a time.
const PIECE: usize = 1 << 20;

/// The features that identify a received log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceivedLog {
    pub name: String,
    pub bytes: u64,
    /// XXH3, 128 bits, in hexadecimal.
    pub digest: String,
}

impl ReceivedLog {
    /// Reads the log of a backup; `None` where it has none.
    pub fn of(directory: &(impl Directory + ?Sized)) -> Result<Option<ReceivedLog>> {
        let directory =
            directory.spot().map_err(|error| disk_error(error, format!("opening {}", directory.named().display())))?;
        for name in NAMES {
            let path = directory.join(name);
            let disk_error = |error| disk_error(error, format!("reading {path}"));
            let mut file = match path.open_file() {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                file => file.map_err(disk_error)?,
            };
            let (mut hasher, mut piece, mut bytes) = (Xxh3::new(), vec![0; PIECE], 0);
            loop {
                let count = match file.read(&mut piece) {
                    Ok(0) => break,
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    count => count.map_err(disk_error)?,
                };
                hasher.update(&piece[..count]);
                bytes += count as u64;
            }
            let digest = format!("{:032x}", hasher.digest128());
            return Ok(Some(ReceivedLog { name: name.to_owned(), bytes, digest }));
        }
        Ok(None)
    }

    /// Whether a directory still has it, untouched.
    pub fn is_in(&self, directory: &(impl Directory + ?Sized)) -> Result<bool> {
        Ok(ReceivedLog::of(directory)?.as_ref() == Some(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_identified_by_its_name_length_and_every_byte() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(directory.path().join(name), bytes).unwrap();
        assert_eq!(ReceivedLog::of(directory.path()).unwrap(), None);
        let mut log = vec![7; 3 * PIECE + 5];
        write("ib_logfile0", &log);
        let received = ReceivedLog::of(directory.path()).unwrap().unwrap();
        assert_eq!((&*received.name, received.bytes), ("ib_logfile0", log.len() as u64));
        assert!(received.is_in(directory.path()).unwrap());
        log[2 * PIECE] = 8;
        write("ib_logfile0", &log);
        assert!(!received.is_in(directory.path()).unwrap());
        log[2 * PIECE] = 7;
        write("ib_logfile0", &log[1..]);
        assert!(!received.is_in(directory.path()).unwrap());
        // XtraBackup's begins under another name.
        std::fs::remove_file(directory.path().join("ib_logfile0")).unwrap();
        assert!(!received.is_in(directory.path()).unwrap());
        write("xtrabackup_logfile", &log);
        assert!(!received.is_in(directory.path()).unwrap());
    }
}

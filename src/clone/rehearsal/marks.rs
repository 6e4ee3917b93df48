//! The mark of a crash in the index files of MyISAM and Aria.
//!
//! A server that finds such a table broken, or recovers it and fails, leaves the mark there. The rehearsal's server has index
//! files of its own ([`super::shadow`]): a mark in the copy's came with it from the donor.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Endings of index files.
const INDEXES: [&str; 2] = ["MYI", "MAI"];

/// STATE_CRASHED and STATE_CRASHED_ON_REPAIR.
const CRASHED: u8 = 2 | 4;

/// Where they stand: behind a header of 24 bytes and the number of users, in one byte in MyISAM (`mi_state_info_write`), in the
/// lower of two in Aria (`_ma_state_info_write_sub`; seen with 10.11).
fn offset(ending: &OsStr) -> usize {
    if ending == "MAI" { 27 } else { 26 }
}

/// Whether a table that goes by this name in its data directory, or one of its partitions, has the mark.
pub fn is_marked(data_dir: &Path, name: &[u8]) -> bool {
    let table = data_dir.join(OsStr::from_bytes(name));
    let (Some(parent), Some(name)) = (table.parent(), table.file_name()) else { return false };
    let partition = [name.as_bytes(), b"#"].concat();
    let Ok(entries) = std::fs::read_dir(parent) else { return false };
    entries.flatten().map(|entry| entry.path()).any(|path| {
        let (Some(stem), Some(ending)) = (path.file_stem(), path.extension()) else { return false };
        let is_its = stem == name || stem.as_bytes().starts_with(&partition);
        is_its && INDEXES.iter().any(|index| ending == *index) && has_mark(&path, offset(ending))
    })
}

fn has_mark(path: &Path, offset: usize) -> bool {
    let mut head = [0; 28];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && head[offset] & CRASHED != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_its_tables_or_a_partitions() {
        let directory = tempfile::tempdir().unwrap();
        let app = directory.path().join("app");
        std::fs::create_dir(&app).unwrap();
        let mut marked = [0; 64];
        (marked[26], marked[27]) = (0, 0xb2);
        for (name, bytes) in
            [("a.MAI", marked), ("p#P#low.MAI", marked), ("p#P#high.MAI", [0; 64]), ("pq.MAI", [0; 64])]
        {
            std::fs::write(app.join(name), bytes).unwrap();
        }
        marked.swap(26, 27);
        std::fs::write(app.join("m.MYI"), marked).unwrap();
        std::fs::write(app.join("cut.MYI"), &marked[..27]).unwrap();
        for (name, is) in
            [("app/a", true), ("app/p", true), ("app/m", true), ("app/pq", false), ("app/cut", false), ("app/x", false)]
        {
            assert_eq!(is_marked(directory.path(), name.as_bytes()), is, "{name}");
        }
    }
}

//! How long a table may take to be opened or checked.
//!
//! A healthy one takes a millisecond. MariaDB reads no row for `LIMIT 0`. MySQL reads until it has found one for `LIMIT 1`.
//! Where a table's index begins with rows that were deleted and not yet purged, it reads all of those first. So the limit
//! grows with the files of the table, as that of a check grows with its index.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// Besides what is read: a node that is short of disk is slow.
pub const TIME_TO_OPEN: Duration = Duration::from_secs(60);

/// The slowest read, in bytes a second.
const READ_PER_SECOND: u64 = 4 << 20;

/// What can be read within [`TIME_TO_OPEN`] needs no more.
const SMALL: u64 = READ_PER_SECOND * TIME_TO_OPEN.as_secs();

/// For a table of which so many bytes may have to be read.
pub fn time_to_read(bytes: u64) -> Duration {
    TIME_TO_OPEN + Duration::from_secs(bytes / READ_PER_SECOND)
}

/// Bytes of tables' own tablespaces, and of those that several share.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// By `schema/table` as files have it, all partitions together.
    tables: BTreeMap<Vec<u8>, u64>,
    /// The largest at the top of the data directory: the system tablespace, or a general one.
    shared: u64,
}

impl Sizes {
    pub fn of(data_dir: &Path) -> Sizes {
        let mut sizes = Sizes::default();
        for entry in std::fs::read_dir(data_dir).into_iter().flatten().flatten() {
            let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
            if entry.path().is_file() {
                sizes.shared = sizes.shared.max(bytes);
            }
            for file in std::fs::read_dir(entry.path()).into_iter().flatten().flatten() {
                let name = file.file_name();
                if let Some(name) = name.as_bytes().strip_suffix(b".ibd") {
                    // No `#` is in a table's own name: a server writes it as `@0023`.
                    let table = name.split(|byte| *byte == b'#').next().unwrap_or_default();
                    let key = [entry.file_name().as_bytes(), b"/", table].concat();
                    let bytes: &mut u64 = sizes.tables.entry(key).or_default();
                    *bytes = bytes.saturating_add(file.metadata().map_or(0, |metadata| metadata.len()));
                }
            }
        }
        sizes
    }

    /// Whether no table's limit depends on its name.
    pub fn are_small(&self) -> bool {
        self.shared <= SMALL && self.tables.values().all(|bytes| *bytes <= SMALL)
    }

    /// For one by the name of its files. Without files of its own it lies in a tablespace that it shares.
    pub fn time_to_open(&self, table: &[u8]) -> Duration {
        let bytes = self.tables.get(table).copied().unwrap_or(self.shared);
        if bytes <= SMALL { TIME_TO_OPEN } else { time_to_read(bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files of these lengths, which take no room.
    fn sizes(files: &[(&str, u64)]) -> Sizes {
        let data = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = data.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::File::create(path).unwrap().set_len(*bytes).unwrap();
        }
        Sizes::of(data.path())
    }

    #[test]
    fn a_large_table_has_the_time_that_its_files_take_and_a_small_one_a_minute() {
        let sizes = sizes(&[
            ("ibdata1", 12 << 20),
            ("app/small.ibd", 1 << 20),
            ("app/large.ibd", 40 << 30),
            ("app/p#p#low.ibd", 4 << 30),
            ("app/p#p#high.ibd", 4 << 30),
        ]);
        let seconds = |table: &str| sizes.time_to_open(table.as_bytes()).as_secs();
        assert!(!sizes.are_small());
        assert_eq!([seconds("app/small"), seconds("app/none")], [60, 60]);
        assert_eq!(seconds("app/large"), 60 + 40 * 256);
        assert_eq!(seconds("app/p"), 60 + 8 * 256);
    }

    #[test]
    fn a_table_in_a_shared_tablespace_has_the_time_that_this_takes() {
        let sizes = sizes(&[("ibdata1", 4 << 30), ("app/own.ibd", 1)]);
        assert!(!sizes.are_small());
        assert_eq!(sizes.time_to_open(b"app/t").as_secs(), 60 + 4 * 256);
        assert_eq!(sizes.time_to_open(b"app/own").as_secs(), 60);
    }

    #[test]
    fn where_all_are_small_nobody_has_to_be_asked_for_names() {
        assert!(sizes(&[("ibdata1", 12 << 20), ("app/t.ibd", 200 << 20)]).are_small());
    }
}

//! How long a private server may take to start, by what it has to do: recovery reads the log, and MySQL looks at each file.

use std::path::Path;
use std::time::Duration;

/// What a start takes without either, on a slow node.
const LEAST: Duration = Duration::from_secs(180);

/// The slowest recovery that counts as one, in bytes of log a second.
const LOG_PER_SECOND: u64 = 1 << 20;

/// The slowest look at files, in files a second.
const FILES_PER_SECOND: u64 = 50;

/// What a server finds in a data directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    pub files: u64,
    pub log_bytes: u64,
}

impl Load {
    /// Counts. What can't be read counts as nothing here: the server will say so.
    pub fn of(data_dir: &Path) -> Load {
        let mut load = Load::default();
        let mut directories = vec![data_dir.to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
                let Ok(kind) = entry.file_type() else { continue };
                if kind.is_dir() {
                    directories.push(entry.path());
                    continue;
                }
                load.files += 1;
                let name = entry.file_name();
                let is_log = name.to_string_lossy().starts_with("ib_logfile")
                    || directory.file_name().is_some_and(|name| name == "#innodb_redo");
                if is_log {
                    let length = entry.metadata().map_or(0, |metadata| metadata.len());
                    load.log_bytes = load.log_bytes.saturating_add(length);
                }
            }
        }
        load
    }

    /// How long a start on it may take.
    pub fn time_to_start(self) -> Duration {
        LEAST + Duration::from_secs(self.log_bytes / LOG_PER_SECOND + self.files / FILES_PER_SECOND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_to_do_takes_longer() {
        for (files, log_bytes, seconds) in [(0, 0, 180), (300, 100 << 20, 286), (20_000, 0, 580), (0, 64 << 30, 65_716)]
        {
            assert_eq!(Load { files, log_bytes }.time_to_start(), Duration::from_secs(seconds));
        }
    }

    #[test]
    fn logs_longer_than_can_be_counted_are_no_panic() {
        // In memory files may be as long as an offset can say.
        let data = tempfile::tempdir_in("/dev/shm").unwrap();
        for name in ["ib_logfile0", "ib_logfile1", "ib_logfile2"] {
            std::fs::File::create(data.path().join(name)).unwrap().set_len(i64::MAX as u64).unwrap();
        }
        assert_eq!(Load::of(data.path()), Load { files: 3, log_bytes: u64::MAX });
    }

    #[test]
    fn logs_of_either_family_are_weighed() {
        let data = tempfile::tempdir().unwrap();
        for directory in ["#innodb_redo", "app"] {
            std::fs::create_dir(data.path().join(directory)).unwrap();
        }
        for name in ["ib_logfile0", "#innodb_redo/#ib_redo7", "app/t.ibd"] {
            std::fs::write(data.path().join(name), "1234").unwrap();
        }
        assert_eq!(Load::of(data.path()), Load { files: 3, log_bytes: 8 });
    }
}

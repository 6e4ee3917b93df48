//! The server id that `init-config` writes, and the files by which the server would have another.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::option_file::{Reader, Setting};
use super::{bytes, is_servers};

/// What `init-config` writes it to.
pub const FILE: &str = "server-id.cnf";

const NAME: &str = "server_id";

/// A file that gives the server another id.
#[derive(Debug, PartialEq, Eq)]
pub struct Other {
    pub file: String,
    /// As it is written there; empty where there is no value.
    pub value: String,
}

/// The id that `init-config` wrote to a directory; `None` where it did not.
pub fn written(directory: &Path) -> Result<Option<u64>> {
    let mut reader = Reader::of(&is_any_servers);
    reader.file(&directory.join(FILE))?;
    Ok(value(&reader.settings()).and_then(|value| bytes(&value)))
}

/// Of files in the order in which the server reads them, the last that counts against `server_id`. Those that are read before
/// `server-id.cnf` are overruled by it.
pub fn overruled_by(files: &[PathBuf], server_id: u64) -> Result<Option<Other>> {
    let mut last = None;
    let later = files.iter().filter(|file| file.file_name().is_some_and(|name| name > FILE));
    for file in later {
        let mut reader = Reader::of(&is_any_servers);
        reader.file(file)?;
        if let Some(value) = value(&reader.settings()) {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            last = Some(Other { file: name, value });
        }
    }
    Ok(last.filter(|other| bytes(&other.value) != Some(server_id)))
}

/// Which series the server will be is not known yet.
fn is_any_servers(group: &str) -> bool {
    is_servers(group, None)
}

fn value(settings: &[Setting]) -> Option<String> {
    // Servers take an unambiguous beginning of a name too (`findopt` in mysys/my_getopt of both families).
    let is_it = |setting: &&Setting| setting.name == NAME || setting.name == "server_i";
    settings.iter().rfind(is_it).map(|setting| setting.value.clone().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(written(directory.path()).unwrap(), None);
        std::fs::write(directory.path().join(FILE), "# ours\n[mysqld]\nserver-id=102\nevent_scheduler=OFF\n").unwrap();
        assert_eq!(written(directory.path()).unwrap(), Some(102));
    }

    #[test]
    fn the_last_word_counts() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let slave = write("slave.cnf", "[mysqld]\nserver-id = 5\n");
        let overruled = |files: &[PathBuf]| overruled_by(files, 102).unwrap().map(|other| (other.file, other.value));
        assert_eq!(overruled(std::slice::from_ref(&slave)), Some(("slave.cnf".into(), "5".into())));
        let right = write("t.cnf", "[mariadb-10.11]\nserver_id = 102\n");
        assert_eq!(overruled(&[slave.clone(), right]), None);
        assert_eq!(overruled(&[write("replica.cnf", "[mysqld]\nserver-id = 5\n")]), None);
    }
}

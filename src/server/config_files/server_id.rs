//! The server id that `init-config` writes, and option files that override it.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::option_file::{Reader, Setting};
use super::{bytes, is_servers};

/// The file that `init-config` writes.
pub const FILE: &str = "server-id.cnf";

const NAME: &str = "server_id";

/// A file that gives the server another id.
#[derive(Debug, PartialEq, Eq)]
pub struct Other {
    pub file: String,
    /// The value as written there; empty for a bare name.
    pub value: String,
}

/// The id that `init-config` wrote to a directory, where it did.
pub fn written(directory: &Path) -> Result<Option<u64>> {
    let mut reader = Reader::of(&is_any_servers);
    reader.file(&directory.join(FILE))?;
    Ok(value(&reader.settings()).and_then(|value| bytes(&value)))
}

/// The last file that overrides `server_id`, of files in the server's order. `server-id.cnf` itself overrides those
/// that are read before it.
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

/// Accepts the groups of every series, since the server's is still unknown.
fn is_any_servers(group: &str) -> bool {
    is_servers(group, None)
}

fn value(settings: &[Setting]) -> Option<String> {
    // Servers also accept an unambiguous prefix of a name (`findopt` in mysys/my_getopt of both families).
    let is_it = |setting: &&Setting| setting.name == NAME || setting.name == "server_i";
    settings.iter().rfind(is_it).map(|setting| setting.value.clone().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_id_that_was_written() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(written(directory.path()).unwrap(), None);
        std::fs::write(directory.path().join(FILE), "# ours\n[mysqld]\nserver-id=102\nevent_scheduler=OFF\n").unwrap();
        assert_eq!(written(directory.path()).unwrap(), Some(102));
    }

    #[test]
    fn the_last_value_counts() {
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

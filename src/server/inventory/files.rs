//! Lists the files of engines other than InnoDB, and of table definitions, in a data directory.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::protocol::inventory::MOST_ENTRIES;
use crate::protocol::inventory::server_look::Mark;
use crate::unpack::path::MemberPath;

/// Suffixes of files that a backup tool copies beside InnoDB's. They hold data of MyISAM, MERGE, Aria, ARCHIVE and CSV,
/// and definitions of tables, partitions, triggers and databases. (XtraBackup's backup_copy.cc and mariadb-backup's
/// have the same list.) `.ARM` exists only while a table is optimised.
const COPIED: [&str; 14] =
    [".frm", ".par", ".TRG", ".TRN", ".opt", ".MYD", ".MYI", ".MRG", ".MAD", ".MAI", ".ARZ", ".CSM", ".CSV", ".sdi"];

/// Files at the top of a data directory: Aria's control file and logs.
const ARIA_LOG: &str = "aria_log";

/// A schema of the server itself. It holds no rows and is created again.
const PERFORMANCE_SCHEMA: &str = "performance_schema";

/// The files in the databases' directories. Files come and go while a server runs.
pub(super) fn files(data_dir: &Path) -> io::Result<BTreeMap<MemberPath, Mark>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(data_dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        let kind = entry.file_type()?;
        // Skips our own entries, lost+found, and the server's directories for temporary tables or caches.
        let is_database = kind.is_dir() && !text.starts_with(['.', '#']) && text != "lost+found";
        if kind.is_file() && text.starts_with(ARIA_LOG) {
            add(&mut found, &entry.path(), name.as_bytes())?;
        } else if is_database && text != PERFORMANCE_SCHEMA {
            add_database(&mut found, &entry.path(), name.as_bytes())?;
        }
    }
    Ok(found)
}

fn add_database(found: &mut BTreeMap<MemberPath, Mark>, directory: &Path, database: &[u8]) -> io::Result<()> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        // `#sql…` belongs to a running or killed statement.
        if !text.starts_with('#') && COPIED.iter().any(|end| text.ends_with(end)) {
            add(found, &entry.path(), &[database, b"/", name.as_bytes()].concat())?;
        }
    }
    Ok(())
}

fn add(found: &mut BTreeMap<MemberPath, Mark>, path: &Path, name: &[u8]) -> io::Result<()> {
    let metadata = match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    let name = MemberPath::new(name).map_err(io::Error::other)?;
    if metadata.is_file() {
        found.insert(name, mark(&metadata));
    }
    if found.len() > MOST_ENTRIES {
        return Err(io::Error::other(format!("more than {MOST_ENTRIES} files")));
    }
    Ok(())
}

fn mark(metadata: &Metadata) -> Mark {
    Mark { inode: metadata.ino(), changed: (metadata.ctime(), metadata.ctime_nsec()), length: metadata.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_other_engines_and_definitions_are_listed() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        };
        let listed =
            ["aria_log.00000001", "aria_log_control", "app/a#P#p0.MAD", "app/a.frm", "app/db.opt", "app/t.TRG"];
        for name in listed {
            write(name);
        }
        for name in [
            "app/t.ibd",
            "app/#sql-alter-1-2.frm",
            "app/notes.txt",
            "performance_schema/x.sdi",
            "#innodb_temp/t.frm",
            ".mysqlset-stage/a.frm",
            "ib_buffer_pool",
            "lost+found/x.frm",
        ] {
            write(name);
        }
        let found = files(directory.path()).unwrap().keys().map(ToString::to_string).collect::<Vec<_>>();
        let mut expected = listed.map(str::to_owned);
        expected.sort();
        assert_eq!(found, expected);
    }
}

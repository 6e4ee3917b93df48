//! Which files of a data directory a backup copies, and what room they take.
//!
//! The tools copy files by their endings (`datafile_copy_backup` in backup_copy.cc of both), InnoDB's by their names, and
//! of RocksDB all; MySQL's CLONE plugin copies InnoDB's only. Whatever else lies there takes no room in a clone: logs of
//! all kinds, dumps, cores, what a server keeps for the time of its life.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::datadir::backup_metadata;
use crate::server::config_files::data_files;
use crate::server::storage::Storage;
use crate::sys::limits;
use crate::unpack::path::OUR_PREFIX;
use crate::unpack::storage::is_storages_own;

/// Beginnings of names in a data directory that are looked at by nobody.
const PASSED_OVER: [&str; 5] = ["ib_logfile", "#innodb_redo", "ibtmp", "#innodb_temp", OUR_PREFIX];

/// Endings of InnoDB's files.
const OF_INNODB: [&str; 2] = ["ibd", "ibu"];

/// Endings of other engines' files, and of what the servers keep beside tables.
const OF_OTHERS: [&str; 16] =
    ["frm", "isl", "MYD", "MYI", "MAD", "MAI", "MRG", "TRG", "TRN", "ARM", "ARZ", "CSM", "CSV", "opt", "par", "sdi"];

/// Beginnings of the names of directories and files that are copied whole.
const WHOLE: [&str; 3] = ["#rocksdb", ".rocksdb", "tokudb"];

/// By what a copy is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copier {
    /// A backup tool. mariadb-backup sends the holes of `page_compressed` tables as zeros, and zeros they become.
    Tool { fills_holes: bool },
    /// MySQL's CLONE plugin.
    Plugin,
}

/// What lies in a data directory.
#[derive(Debug, Default)]
pub struct Lying {
    /// Room that a copy takes.
    pub bytes: u64,
    /// Files that are copied.
    pub files: u64,
    /// Of them, those that a backup tool has open all the time.
    pub open_files: u64,
    /// The length of the longest.
    pub largest: u64,
    /// A file that stands for one elsewhere.
    pub link: Option<PathBuf>,
    /// A database that has the name of a file in which a backup tool keeps its own notes.
    pub clash: Option<String>,
}

/// Looks at all of it.
pub fn look(data_dir: &Path, storage: &Storage, copier: Copier) -> std::io::Result<Lying> {
    let data_dir = &data_dir.canonicalize()?;
    let files = storage.variables.get("innodb_data_file_path").map(|path| data_files(path)).unwrap_or_default();
    let files = files.iter().filter_map(|file| Some(Path::new(file).file_name()?.to_string_lossy().into_owned()));
    let logs = storage.uncopied_logs();
    let mut looking = Looking { data_dir, copier, files: files.collect(), found: Lying::default() };
    for entry in std::fs::read_dir(data_dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_passed_over = PASSED_OVER.iter().copied().chain(logs.iter().map(String::as_str));
        let is_passed_over = is_passed_over.into_iter().any(|start| name.starts_with(start));
        // MySQL's images leave a link to the server's socket there, at each start.
        let socket = storage.socket();
        let is_socket = socket.is_some() && entry.path().read_link().ok().map(in_run) == socket.map(in_run);
        if copier != Copier::Plugin && backup_metadata::is_tools_own(&name) && entry.path().is_dir() {
            looking.found.clash = Some(name.clone());
        }
        if !is_passed_over && !is_socket && !is_storages_own(&name) {
            let is_whole = WHOLE.iter().any(|start| name.starts_with(start));
            looking.add(&entry.path(), is_whole);
        }
    }
    Ok(looking.found)
}

struct Looking<'a> {
    data_dir: &'a Path,
    copier: Copier,
    /// InnoDB's system tablespace.
    files: Vec<String>,
    found: Lying,
}

impl Looking<'_> {
    /// Files come and go while a server runs.
    fn add(&mut self, path: &Path, is_whole: bool) {
        let Ok(metadata) = path.symlink_metadata() else { return };
        if metadata.is_symlink() || path.extension().is_some_and(|extension| extension == "isl") {
            let leads_inside =
                metadata.is_symlink() && path.canonicalize().is_ok_and(|end| end.starts_with(self.data_dir));
            if !leads_inside {
                self.found.link.get_or_insert_with(|| path.to_owned());
            }
        } else if metadata.is_dir() {
            for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
                self.add(&entry.path(), is_whole);
            }
        } else if is_whole || self.is_copied(path) {
            // Blocks of 512 bytes, whatever the file system's are. (stat(2))
            let taken = metadata.blocks().saturating_mul(512);
            let is_filled = self.copier == Copier::Tool { fills_holes: true } && has_ending(path, &["ibd"]);
            let counted = if is_filled { taken.max(metadata.len()) } else { taken };
            self.found.bytes = self.found.bytes.saturating_add(counted);
            self.found.files += 1;
            self.found.largest = self.found.largest.max(metadata.len());
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            self.found.open_files += u64::from(limits::is_kept_open(&name));
        }
    }

    fn is_copied(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let numbered = |start: &str| {
            name.strip_prefix(start)
                .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let is_innodbs = has_ending(path, &OF_INNODB)
            || self.files.iter().any(|file| *file == name)
            || numbered("undo")
            || numbered("undo_")
            || name == "ib_buffer_pool";
        let is_others = || has_ending(path, &OF_OTHERS) || numbered("aria_log.") || name == "aria_log_control";
        is_innodbs || (self.copier != Copier::Plugin && is_others())
    }
}

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    path.extension().is_some_and(|extension| endings.iter().any(|ending| extension == *ending))
}

/// `/var/run` has long been another name of `/run`; whether this container has both says nothing about the server's.
fn in_run(path: impl Into<PathBuf>) -> PathBuf {
    let path = path.into();
    path.strip_prefix("/var/run").map(|rest| Path::new("/run").join(rest)).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOL: Copier = Copier::Tool { fills_holes: false };

    fn storage(variables: &[(&str, &str)]) -> Storage {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Storage { variables: variables.collect(), encrypted: None }
    }

    fn usual() -> Storage {
        storage(&[
            ("datadir", "/var/lib/mysql/"),
            ("log_bin_basename", "/var/lib/mysql/mysql-bin"),
            ("innodb_data_file_path", "ibdata1:12M:autoextend"),
        ])
    }

    fn directory(names: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for name in names {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, vec![1; 8192]).unwrap();
        }
        directory
    }

    #[test]
    fn only_what_is_copied_takes_room() {
        let copied = [
            "ibdata1",
            "undo001",
            "undo_002",
            "u3.ibu",
            "mysql.ibd",
            "aria_log.00000001",
            "aria_log_control",
            "ib_buffer_pool",
            "app/t.ibd",
            "app/t.frm",
            "app/db.opt",
            "app/m.MYD",
            "app/m.MYI",
            "app/a.MAD",
            "app/c.CSV",
            "app/t.TRG",
            "mysql/x_213.sdi",
            "#rocksdb/000012.sst",
        ];
        let others = [
            "ib_logfile0",
            "#innodb_redo/#ib_redo1",
            "ibtmp1",
            "#innodb_temp/temp_1.ibt",
            "mysql-bin.000001",
            "mysql-bin.index",
            ".mysqlset.json",
            "slow.log",
            "host-slow.log",
            "general.log",
            "error.err",
            "core",
            "core.123",
            "dump.sql",
            "app/dump.sql.gz",
            "#binlog_cache_files/x",
            "ib_16384_0.dblwr",
            "mysqld.pid",
            "server-key.pem",
            "multi-master.info",
            "binlogs/mysql-bin.000001",
            "undo.txt",
            "gtid_slave_state.dump",
        ];
        let directory = directory(&[&copied[..], &others[..]].concat());
        let found = look(directory.path(), &usual(), TOOL).unwrap();
        assert_eq!((found.bytes, found.files), (copied.len() as u64 * 8192, copied.len() as u64));
        let of_plugin = look(directory.path(), &usual(), Copier::Plugin).unwrap();
        assert_eq!(of_plugin.files, 7 + 1, "{of_plugin:?}");
    }

    #[test]
    fn system_tablespaces_are_known_by_the_servers_variables() {
        let directory = directory(&["sys1", "home/sys2", "ibdata1"]);
        let files = |path| look(directory.path(), &storage(&[("innodb_data_file_path", path)]), TOOL).unwrap().files;
        assert_eq!(files("sys1:12M;sys2:12M:autoextend"), 2);
        assert_eq!(files("ibdata1:12M"), 1);
    }

    #[test]
    fn holes_count_where_they_are_filled() {
        let directory = directory(&["app/t.ibd"]);
        std::fs::File::create(directory.path().join("app/holes.ibd")).unwrap().set_len(1 << 20).unwrap();
        let bytes = |copier| look(directory.path(), &usual(), copier).unwrap().bytes;
        assert_eq!(bytes(TOOL), 8192);
        assert_eq!(bytes(Copier::Tool { fills_holes: true }), 8192 + (1 << 20));
    }

    #[test]
    fn links_are_found() {
        let directory = directory(&["ibdata1", "app/t.ibd"]);
        let symlink = |target: &str, name: &str| {
            std::os::unix::fs::symlink(target, directory.path().join(name)).unwrap();
        };
        symlink("/run/mysqld/mysqld.sock", "mysql.sock");
        let link = |socket| look(directory.path(), &storage(&[("socket", socket)]), TOOL).unwrap().link;
        assert_eq!(link("/run/mysqld/mysqld.sock"), None);
        assert_eq!(link("/var/run/mysqld/mysqld.sock"), None);
        assert!(link("/tmp/mysql.sock").is_some_and(|link| link.ends_with("mysql.sock")));
        symlink("/elsewhere/u.ibd", "app/u.ibd");
        assert!(link("/run/mysqld/mysqld.sock").is_some_and(|link| link.ends_with("app/u.ibd")));
    }
}

//! Removes traces of the copied server's earlier life before a copy is published: its UUID, its settings in files, its
//! logs.
//!
//! A server follows the index of its logs, and purges the listed files wherever they lie. So an index is removed
//! unread. A log is removed by its own name: a number after the log name of the backup's position, or after one of this
//! server's configuration.

use std::path::Path;

use anyhow::Result;

use super::contents::Contents;
use crate::datadir::backup_metadata;
use crate::model::event::info;
use crate::server::config_files::ServerConfig;
use crate::sys::disk::disk_error;
use crate::sys::held_directory::Spot;
use crate::unpack::forbidden::TOOLS_SETTINGS;

/// Directory levels below a copy's top that are searched for logs. The deepest place of a server's logs is a database
/// directory.
const DEPTH: usize = 4;

/// The least number of digits in a log's number.
const DIGITS: usize = 6;

/// Numbered files other than replication logs.
const ARIA: &str = "aria_log";

/// Removes the traces from a prepared copy. Repeating it is harmless.
pub fn remove(staged: &Spot, config: &ServerConfig) -> Result<()> {
    for name in Contents::of(staged)?.storages_names() {
        let path = staged.join(name);
        remove_whatever_it_is(&path)?;
        info!(EarlierLifeRemoved, file = %path, "removed a file of the donor's storage");
    }
    for path in remains(staged, &logs(staged, config)?)? {
        remove_whatever_it_is(&path)?;
        info!(EarlierLifeRemoved, file = %path, "removed a file of the copied server's earlier life");
    }
    Ok(())
}

/// A stream may bring a directory under a file's name, and the other way round.
fn remove_whatever_it_is(path: &Spot) -> Result<()> {
    path.remove_whatever_it_is().map_err(|error| disk_error(error, format!("removing {path}")))
}

/// Base names of logs.
fn logs(staged: &Spot, config: &ServerConfig) -> Result<Vec<String>> {
    let configured = ["log_bin", "relay_log"].into_iter().filter_map(|name| config.get(name));
    let configured = configured.filter_map(|path| Some(Path::new(path).file_name()?.to_string_lossy().into_owned()));
    let copied = backup_metadata::binlog_name(staged)?;
    let names = configured.chain(copied.and_then(|name| Some(numbered(&name)?.to_owned())));
    Ok(names.filter(|name| name != ARIA).collect())
}

/// The part before a log's number; `None` for any other name.
fn numbered(name: &str) -> Option<&str> {
    let (base, number) = name.rsplit_once('.')?;
    let is_number = number.len() >= DIGITS && number.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && !base.is_empty()).then_some(base)
}

/// The copied server's UUID (a replica needs its own), its settings in files, and its binary and relay logs with their
/// indexes. They describe another server's past.
fn remains(staged: &Spot, logs: &[String]) -> Result<Vec<Spot>> {
    let mut remains = Vec::new();
    for name in Contents::of(staged)?.foreign_names() {
        let settings = name.ends_with(".info")
            && ["master", "relay-log", "multi-master"].iter().any(|stem| name.starts_with(stem));
        // The tool's settings may hold credentials for the keys here.
        if name == "auto.cnf" || name == TOOLS_SETTINGS || settings {
            remains.push(staged.join(name));
        }
    }
    add_logs(staged, logs, DEPTH, &mut remains)?;
    Ok(remains)
}

fn add_logs(directory: &Spot, logs: &[String], depth: usize, remains: &mut Vec<Spot>) -> Result<()> {
    let entries = directory.entries().map_err(|error| disk_error(error, format!("listing {directory}")))?;
    for entry in entries {
        let (name, path) = (entry.name.to_string_lossy().into_owned(), directory.join(&entry.name));
        if entry.is_dir() {
            if depth > 0 {
                add_logs(&path, logs, depth - 1, remains)?;
            }
            continue;
        }
        let is_log = numbered(&name).is_some_and(|base| logs.iter().any(|log| log == base));
        let is_state = name.strip_suffix(".state").is_some_and(|base| logs.iter().any(|log| log == base));
        if is_log || is_state || name.ends_with(".index") {
            remains.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(files: &[(&str, &str)]) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = copy.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        copy
    }

    /// The remaining names after two removals.
    fn left(copy: &tempfile::TempDir, config: &str) -> Vec<String> {
        let config = ServerConfig::of_text(config);
        let spot = Spot::of(copy.path()).unwrap();
        remove(&spot, &config).unwrap();
        remove(&spot, &config).unwrap();
        Contents::of(copy.path()).unwrap().foreign_names().map(str::to_owned).collect()
    }

    #[test]
    fn uuid_settings_and_logs_are_removed() {
        let copy = copy(&[
            ("ibdata1", ""),
            ("auto.cnf", ""),
            ("backup-my.cnf", "[mysqld]\n"),
            ("mysql-bin.000007", ""),
            ("mysql-bin.1000000", ""),
            ("mysql-bin.index", "./mysql-bin.000007\n"),
            ("mysql-bin.state", ""),
            ("relay.000001", ""),
            ("relay-log.info", ""),
            ("multi-master.info", ""),
            ("aria_log.00000001", ""),
            ("binlogs/mysql-bin.000001", ""),
            ("binlogs/mysql-bin.index", ""),
            ("xtrabackup_binlog_info", "mysql-bin.000007\t330\t0-100-7\n"),
        ]);
        let kept = ["aria_log.00000001", "binlogs", "ibdata1", "xtrabackup_binlog_info"];
        assert_eq!(left(&copy, "relay_log = relay/relay"), kept);
        assert_eq!(std::fs::read_dir(copy.path().join("binlogs")).unwrap().count(), 0);
    }

    #[test]
    fn a_tools_entries_for_storage_directories_are_removed() {
        assert_eq!(
            left(&copy(&[("ibdata1", ""), (".Trash-0/db.opt", ""), ("lost+found/db.opt", "")]), ""),
            ["ibdata1"]
        );
        let hostile = [("ibdata1", ""), ("aquota.user", ""), ("master.info/x", ""), ("auto.cnf/x", "")];
        assert_eq!(left(&copy(&hostile), ""), ["ibdata1"]);
        let copy = copy(&[(".snapshot/db.opt", "")]);
        assert!(left(&copy, "").is_empty() && !copy.path().join(".snapshot").exists());
    }

    #[test]
    fn files_listed_in_an_index_stay() {
        let copy = copy(&[("ibdata1", ""), ("x.index", "ibdata1\n./aria_log.00000001\n"), ("aria_log.00000001", "")]);
        let boom = std::fs::File::create(copy.path().join("boom.index")).unwrap();
        boom.set_len(3000 << 20).unwrap();
        assert_eq!(left(&copy, ""), ["aria_log.00000001", "ibdata1"]);
    }

    #[test]
    fn only_numbered_names_of_a_known_log_are_logs() {
        for name in ["mysql-bin.00001", "mysql-bin.x00001", "mysql-bin.000001.ibd", "other.000001", "mysql-bin"] {
            let copy = copy(&[(name, "")]);
            assert_eq!(left(&copy, "log_bin = mysql-bin"), [name]);
        }
        let copy = copy(&[("aria_log.00000001", ""), ("xtrabackup_binlog_info", "aria_log.000001\t4\n")]);
        assert_eq!(left(&copy, "log_bin = aria_log"), ["aria_log.00000001", "xtrabackup_binlog_info"]);
    }
}

//! What an earlier life of the copied server left in a copy, and must not be published: its UUID, its settings in files, its
//! logs.
//!
//! A server follows the index of its logs, and purges what it lists, wherever that lies. So an index goes without being read,
//! and a log by its own name: that of the log in the backup's position or in this server's configuration, with a number.

use std::path::Path;

use anyhow::Result;

use super::contents::Contents;
use crate::datadir::backup_metadata;
use crate::model::event::info;
use crate::server::config_files::ServerConfig;
use crate::sys::disk::disk_error;
use crate::sys::held::Spot;
use crate::unpack::forbidden::TOOLS_SETTINGS;

/// Directories below a copy's top in which logs may lie: no server has them deeper than its data directory's databases.
const DEPTH: usize = 4;

/// Digits of a log's number, at least.
const DIGITS: usize = 6;

/// Numbered files that are no logs of replication.
const ARIA: &str = "aria_log";

/// Removes it from a copy that was prepared. Again and again does no harm.
pub fn remove(staged: &Spot, config: &ServerConfig) -> Result<()> {
    for name in Contents::of(staged)?.storages_names() {
        let path = staged.join(name);
        remove_whatever_it_is(&path)?;
        info!(EarlierLifeRemoved, file = %path, "removed what was the donor's storage's own");
    }
    for path in remains(staged, &logs(staged, config)?)? {
        remove_whatever_it_is(&path)?;
        info!(EarlierLifeRemoved, file = %path, "removed a file of the copied server's earlier life");
    }
    Ok(())
}

/// A stream may bring a directory by a file's name, and the other way round.
fn remove_whatever_it_is(path: &Spot) -> Result<()> {
    path.remove_whatever_it_is().map_err(|error| disk_error(error, format!("removing {path}")))
}

/// What the names of logs begin with.
fn logs(staged: &Spot, config: &ServerConfig) -> Result<Vec<String>> {
    let configured = ["log_bin", "relay_log"].into_iter().filter_map(|name| config.get(name));
    let configured = configured.filter_map(|path| Some(Path::new(path).file_name()?.to_string_lossy().into_owned()));
    let copied = backup_metadata::binlog_name(staged)?;
    let names = configured.chain(copied.and_then(|name| Some(numbered(&name)?.to_owned())));
    Ok(names.filter(|name| name != ARIA).collect())
}

/// What stands before a log's number; `None` where the name is no log's.
fn numbered(name: &str) -> Option<&str> {
    let (base, number) = name.rsplit_once('.')?;
    let is_number = number.len() >= DIGITS && number.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && !base.is_empty()).then_some(base)
}

/// The copied server's UUID (a replica needs its own), its settings in files, and its binary and relay
/// logs with their indexes: they describe another server's past.
fn remains(staged: &Spot, logs: &[String]) -> Result<Vec<Spot>> {
    let mut remains = Vec::new();
    for name in Contents::of(staged)?.foreign_names() {
        let settings = name.ends_with(".info")
            && ["master", "relay-log", "multi-master"].iter().any(|stem| name.starts_with(stem));
        // The tool's settings may hold what reaches the keys here.
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

    /// What is left, twice removed.
    fn left(copy: &tempfile::TempDir, config: &str) -> Vec<String> {
        let config = ServerConfig::of_text(config);
        let spot = Spot::of(copy.path()).unwrap();
        remove(&spot, &config).unwrap();
        remove(&spot, &config).unwrap();
        Contents::of(copy.path()).unwrap().foreign_names().map(str::to_owned).collect()
    }

    #[test]
    fn uuid_settings_and_logs_go() {
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
    fn what_a_tool_sends_for_storages_directories_goes() {
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
    fn what_an_index_lists_stays_and_no_index_is_read() {
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

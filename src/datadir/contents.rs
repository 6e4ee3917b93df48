//! Judges a directory that lacks a journal: it is empty, holds a database, or holds half a clone.
//!
//! The signs of a half copy are those that the backup tools and the servers leave (XtraBackup 2.3 … 9, mariadb-backup
//! 10.6 … 11.8). The order in which a backup stream brings its files decides what a cut one lacks. The server's
//! configuration tells where a whole database has its system tablespace and its log.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;

use crate::datadir::backup_metadata::{self, Checkpoints};
use crate::model::exit::Reason;
use crate::server::config_files::{Place, ServerConfig};
use crate::sys::disk::disk_error;
use crate::sys::held_directory::{Directory, Spot};
use crate::unpack::path::OUR_PREFIX;
use crate::unpack::storage::is_storages_own;

/// How many names a message lists.
const NAMED: usize = 5;

/// The names in a directory, and what they show.
pub struct Contents {
    names: BTreeSet<String>,
}

/// The kind of data that lack a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// A database: a server's own, a restored volume, or the tutorial's finished clone.
    Complete,
    /// Data that are unfit for a server, and the reason.
    HalfMade(String),
}

impl Contents {
    /// Lists a directory.
    pub fn of(directory: &(impl Directory + ?Sized)) -> Result<Contents> {
        let directory =
            directory.spot().map_err(|error| disk_error(error, format!("opening {}", directory.named().display())))?;
        let entries = directory.entries().map_err(|error| disk_error(error, format!("listing {directory}")))?;
        Ok(Contents { names: entries.iter().map(|entry| entry.name.to_string_lossy().into_owned()).collect() })
    }

    /// Whether the directory holds only files of the storage and of mysqlset.
    pub fn is_empty(&self) -> bool {
        self.foreign_names().next().is_none()
    }

    /// Names of the storage itself. They mark a volume's root.
    pub fn storages_names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str).filter(|name| is_storages_own(name))
    }

    /// Names of foreign files: all but those of the storage and of mysqlset.
    pub fn foreign_names(&self) -> impl Iterator<Item = &str> {
        let ours = |name: &str| is_storages_own(name) || name.starts_with(OUR_PREFIX);
        self.names.iter().map(String::as_str).filter(move |name| !ours(name))
    }

    /// Judges the data by the configuration of the server that would start on them.
    pub fn foreign_verdict(&self, directory: &Spot, config: &ServerConfig) -> Result<Foreign> {
        let has = |name: &str| self.names.contains(name);
        let half = |why: &str| Ok(Foreign::HalfMade(why.to_owned()));
        let prepared = match backup_metadata::checkpoints(directory)? {
            Some(Checkpoints::Unprepared) => return half("an unprepared backup"),
            Some(Checkpoints::Prepared) => true,
            None => false,
        };
        if !has("mysql") && !has("mysql.ibd") {
            let names: Vec<&str> = self.foreign_names().take(NAMED).collect();
            return Ok(Foreign::HalfMade(format!("files, but no system schema `mysql` ({})", names.join(", "))));
        }
        if let Some(missing) = missing_data_file(directory, config)? {
            return Ok(Foreign::HalfMade(format!(
                "no InnoDB system tablespace `{missing}`: a backup that was cut short"
            )));
        }
        let logs = config.place("innodb_log_group_home_dir", &directory.path());
        let logs = seen(directory, &logs, "innodb_log_group_home_dir")?;
        let has_log = |name: &str| is_there(directory, &logs.join(name));
        if !has_log("ib_logfile0")? && !has_log("#innodb_redo")? {
            return half("no InnoDB log: a backup that was cut short");
        }
        let of_backup = backup_metadata::BEFORE_CHECKPOINTS.iter().any(|name| has(name))
            || backup_metadata::is_log_of_backup(&logs.join("ib_logfile0"))?;
        if !prepared && of_backup {
            return half("a backup that was cut short");
        }
        Ok(Foreign::Complete)
    }
}

/// A missing file of InnoDB's system tablespace.
fn missing_data_file(directory: &Spot, config: &ServerConfig) -> Result<Option<String>> {
    for (file, place) in config.data_file_places(&directory.path()) {
        let setting = format!("innodb_data_file_path, {file}");
        let place = seen(directory, &place, &setting)?.join(Path::new(&file).file_name().unwrap_or_default());
        if !is_there(directory, &place)? {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// Counts a link as present and leaves its target unread.
fn is_there(directory: &Spot, spot: &Spot) -> Result<bool> {
    match spot.look() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Reason::HalfMade.error(format!(
            "{directory} holds a database from outside mysqlset, and checking its completeness failed: {error}"
        ))),
    }
}

/// The directory behind a configured place. A place on an unmounted volume is refused, since it cannot be judged.
fn seen(directory: &Spot, place: &Place, setting: &str) -> Result<Spot> {
    match place {
        Place::Below(below) => Ok(directory.join(below)),
        Place::Outside(outside) if outside.is_dir() => {
            Spot::of(outside).map_err(|error| disk_error(error, format!("opening {}", outside.display())))
        }
        Place::Outside(outside) => Err(Reason::HalfMade.error(format!(
            "{} holds a database from outside mysqlset, and checking its completeness failed: {setting} leads to {}, \
             which is missing here; mount it in this container too",
            directory,
            outside.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(names: &[&str], checkpoints: Option<&str>) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for name in names {
            match name.strip_suffix('/') {
                Some(name) => std::fs::create_dir(directory.path().join(name)).unwrap(),
                None => std::fs::write(directory.path().join(name), "").unwrap(),
            }
        }
        if let Some(backup_type) = checkpoints {
            let text = format!("backup_type = {backup_type}\nfrom_lsn = 0\n");
            std::fs::write(directory.path().join("xtrabackup_checkpoints"), text).unwrap();
        }
        directory
    }

    fn judged(names: &[&str], checkpoints: Option<&str>) -> Foreign {
        judged_by("", names, checkpoints)
    }

    fn judged_by(config: &str, names: &[&str], checkpoints: Option<&str>) -> Foreign {
        let directory = directory(names, checkpoints);
        let config = ServerConfig::of_text(config);
        Contents::of(directory.path()).unwrap().foreign_verdict(&Spot::of(directory.path()).unwrap(), &config).unwrap()
    }

    #[test]
    fn the_configuration_locates_the_parts_of_a_whole_database() {
        let two = "innodb_data_file_path = sys1:12M;sys2:12M:autoextend";
        assert_eq!(judged_by(two, &["mysql/", "sys1", "sys2", "ib_logfile0"], None), Foreign::Complete);
        for (config, names) in [
            (two, &["mysql/", "sys1", "ib_logfile0"][..]),
            (two, &["mysql/", "ibdata1", "ib_logfile0"]),
            ("", &["mysql/", "sys1", "sys2", "ib_logfile0"]),
            ("innodb_log_group_home_dir = redo", &["mysql/", "ibdata1", "ib_logfile0", "redo/"]),
            ("innodb_data_home_dir = home", &["mysql/", "ibdata1", "ib_logfile0", "home/"]),
        ] {
            assert!(matches!(judged_by(config, names, None), Foreign::HalfMade(_)), "{config} {names:?}");
        }
        let places = "innodb_data_home_dir = home\ninnodb_log_group_home_dir = ./redo/";
        let whole = ["mysql/", "home/", "home/ibdata1", "redo/", "redo/ib_logfile0"];
        assert_eq!(judged_by(places, &whole, None), Foreign::Complete);
        let cut = [&whole[..], &["xtrabackup_binlog_info"]].concat();
        assert!(matches!(judged_by(places, &cut, None), Foreign::HalfMade(_)));
    }

    /// Otherwise a whole primary could be set aside for a new database.
    #[test]
    fn a_link_counts_as_present() {
        let elsewhere = directory(&["ib_logfile0", "ibdata1"], None);
        let database = directory(&["mysql/", "ibdata1", "ib_logfile0"], None);
        std::os::unix::fs::symlink(elsewhere.path(), database.path().join("linked")).unwrap();
        for setting in ["innodb_log_group_home_dir = linked", "innodb_data_home_dir = linked"] {
            let contents = Contents::of(database.path()).unwrap();
            let judged = contents.foreign_verdict(&Spot::of(database.path()).unwrap(), &ServerConfig::of_text(setting));
            let error = judged.unwrap_err().to_string();
            assert!(
                error.contains("checking its completeness failed") && error.contains("symbolic link"),
                "{setting}: {error}"
            );
        }
    }

    #[test]
    fn a_place_on_an_unmounted_volume_is_refused() {
        let directory = directory(&["mysql/", "ib_logfile0"], None);
        let config = ServerConfig::of_text("innodb_data_home_dir = /nowhere/at/all");
        let error = Contents::of(directory.path())
            .unwrap()
            .foreign_verdict(&Spot::of(directory.path()).unwrap(), &config)
            .unwrap_err();
        assert!(error.to_string().contains("innodb_data_file_path, ibdata1 leads to /nowhere/at/all"), "{error}");
    }

    #[test]
    fn empty_means_only_storages_and_our_files() {
        let storages = ["lost+found/", ".snapshot/", ".Trash-0/", ".zfs/"];
        let directory = directory(&[&storages[..], &[".mysqlset.json", ".mysqlset-stage/"]].concat(), None);
        assert!(Contents::of(directory.path()).unwrap().is_empty());
        std::fs::write(directory.path().join("ibdata1"), "").unwrap();
        assert!(!Contents::of(directory.path()).unwrap().is_empty());
    }

    #[test]
    fn a_message_lists_the_names() {
        let Foreign::HalfMade(why) = judged(&[".hidden/", "x.txt", ".snapshot/"], None) else { panic!() };
        assert!(why.contains("(.hidden, x.txt)"), "{why}");
    }

    #[test]
    fn servers_own_data_are_complete() {
        assert_eq!(judged(&["mysql/", "ibdata1", "ib_logfile0", "aria_log_control"], None), Foreign::Complete);
        assert_eq!(judged(&["mysql/", "mysql.ibd", "ibdata1", "#innodb_redo/", "auto.cnf"], None), Foreign::Complete);
    }

    #[test]
    fn a_prepared_clone_of_the_tutorial_is_complete() {
        for prepared in ["full-prepared", "log-applied"] {
            assert_eq!(judged(&["mysql/", "ibdata1", "ib_logfile0"], Some(prepared)), Foreign::Complete);
        }
    }

    #[test]
    fn a_log_written_by_a_backup_tool_shows_a_cut_backup() {
        let directory = directory(&["mysql/", "ibdata1"], None);
        for (creator, expected) in [("Backup 10.11.19", true), ("MariaDB 10.11.19", false)] {
            let header = [&[0; 16][..], creator.as_bytes(), &[0; 480]].concat();
            std::fs::write(directory.path().join("ib_logfile0"), header).unwrap();
            let config = ServerConfig::default();
            let judged = Contents::of(directory.path())
                .unwrap()
                .foreign_verdict(&Spot::of(directory.path()).unwrap(), &config)
                .unwrap();
            assert_eq!(judged != Foreign::Complete, expected, "{creator}");
        }
    }

    #[test]
    fn half_databases_are_recognised() {
        let halves: [(&[&str], Option<&str>); 7] = [
            (&["mysql/", "ib_logfile0"], None),
            (&["mysql/", "ibdata1", "ib_logfile0", "mariadb_backup_slave_info"], None),
            (&["mysql/", "ibdata1", "ib_logfile0"], Some("full-backuped")),
            (&["ibdata1"], None),
            (&["mysql/", "ibdata1"], None),
            (&["mysql/", "ibdata1", "ib_logfile0", "xtrabackup_binlog_info"], None),
            (&["mysql/", "ibdata1", "ib_logfile0", "xtrabackup_logfile"], None),
        ];
        for (names, checkpoints) in halves {
            assert!(matches!(judged(names, checkpoints), Foreign::HalfMade(_)), "{names:?} {checkpoints:?}");
        }
    }
}

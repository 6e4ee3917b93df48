//! What lies in a directory that no journal speaks for: nothing, a database, or half of one.
//!
//! The signs of a half copy are those that the backup tools and the servers leave (XtraBackup 2.3 … 9,
//! mariadb-backup 10.6 … 11.8; the order in which a backup stream brings its files decides what a cut one lacks).

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;

use crate::backup_tool::left_files::{self, Checkpoints};
use crate::exit;
use crate::unpack::path::OUR_PREFIX;

const LOST_AND_FOUND: &str = "lost+found";

/// The names in a directory, and what they say.
pub struct Contents {
    names: BTreeSet<String>,
}

/// What data without a journal are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// A database: a server's own, a restored volume, or the tutorial's finished clone.
    Complete,
    /// Something that no server may be started on, and how that is known.
    HalfMade(&'static str),
}

impl Contents {
    /// Lists a directory.
    pub fn of(directory: &Path) -> Result<Contents> {
        let failed = |error| exit::disk_error(error, format!("listing {}", directory.display()));
        let mut names = BTreeSet::new();
        for entry in std::fs::read_dir(directory).map_err(failed)? {
            names.insert(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
        }
        Ok(Contents { names })
    }

    /// Whether there is nothing but what a file system and we put there.
    pub fn is_empty(&self) -> bool {
        self.foreign_names().next().is_none()
    }

    /// Whether the directory is the root of a file system like ext4.
    pub fn has_lost_and_found(&self) -> bool {
        self.names.contains(LOST_AND_FOUND)
    }

    /// Names that are neither the file system's nor ours.
    pub fn foreign_names(&self) -> impl Iterator<Item = &str> {
        let ours = |name: &str| name == LOST_AND_FOUND || name.starts_with(OUR_PREFIX);
        self.names.iter().map(String::as_str).filter(move |name| !ours(name))
    }

    /// Judges data that no journal speaks for.
    pub fn judge(&self, directory: &Path) -> Result<Foreign> {
        let has = |name: &str| self.names.contains(name);
        let half = |why| Ok(Foreign::HalfMade(why));
        let prepared = match left_files::checkpoints(directory)? {
            Some(Checkpoints::Unprepared) => return half("a backup that was never prepared"),
            Some(Checkpoints::Prepared) => true,
            None => false,
        };
        if !has("mysql") && !has("mysql.ibd") {
            return half("files, but no system schema `mysql`");
        }
        if !has("ibdata1") {
            return half("no InnoDB system tablespace `ibdata1`: a backup that was cut before its end");
        }
        if !has("ib_logfile0") && !has("#innodb_redo") {
            return half("no InnoDB log: a backup that was cut before its end");
        }
        let of_backup = left_files::BEFORE_CHECKPOINTS.iter().any(|name| has(name))
            || left_files::is_log_of_backup(&directory.join("ib_logfile0"));
        if !prepared && of_backup {
            return half("a backup that was cut before its end");
        }
        Ok(Foreign::Complete)
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
        let directory = directory(names, checkpoints);
        Contents::of(directory.path()).unwrap().judge(directory.path()).unwrap()
    }

    #[test]
    fn empty_means_nothing_but_lost_and_found_and_ours() {
        let directory = directory(&["lost+found/", ".mysqlset.json", ".mysqlset-stage/"], None);
        assert!(Contents::of(directory.path()).unwrap().is_empty());
        std::fs::write(directory.path().join("ibdata1"), "").unwrap();
        assert!(!Contents::of(directory.path()).unwrap().is_empty());
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
    fn a_log_that_a_backup_tool_wrote_tells_of_a_cut_backup() {
        let directory = directory(&["mysql/", "ibdata1"], None);
        for (creator, expected) in [("Backup 10.11.19", true), ("MariaDB 10.11.19", false)] {
            let header = [&[0; 16][..], creator.as_bytes(), &[0; 480]].concat();
            std::fs::write(directory.path().join("ib_logfile0"), header).unwrap();
            let judged = Contents::of(directory.path()).unwrap().judge(directory.path()).unwrap();
            assert_eq!(judged != Foreign::Complete, expected, "{creator}");
        }
    }

    #[test]
    fn halves_are_known() {
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

//! Damage to one file of a copy: its file, its kind, and its place on the way.

pub mod expected;
pub mod files;
pub mod stream;

use std::fmt;

use serde::{Deserialize, Serialize};

/// Kinds of files, by their role for a server or a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Class {
    Table,
    CompressedTable,
    Partition,
    FullText,
    SystemTable,
    Definition,
    SystemDefinition,
    Partitions,
    Trigger,
    TriggerName,
    DbOpt,
    AriaData,
    AriaIndex,
    SystemAriaData,
    SystemAriaIndex,
    MyisamData,
    MyisamIndex,
    CsvData,
    CsvMeta,
    Merge,
    SystemTablespace,
    Undo,
    Redo,
    AriaLog,
    AriaControl,
    Checkpoints,
    BinlogInfo,
    Info,
    OptionsFile,
}

impl Class {
    /// Whether a path below a data directory is of this kind.
    pub fn has(self, path: &str) -> bool {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let (stem, end) = name.rsplit_once('.').unwrap_or((name, ""));
        let (users, system) = (directory == "zoo", directory == "mysql");
        let is_part = name.contains("#P#");
        match self {
            Class::Table => users && end == "ibd" && !is_part && !stem.starts_with("FTS_") && stem != "zipped",
            Class::CompressedTable => users && name == "zipped.ibd",
            Class::Partition => users && end == "ibd" && is_part,
            Class::FullText => users && end == "ibd" && stem.starts_with("FTS_"),
            Class::SystemTable => system && end == "ibd" && stem != "transaction_registry",
            Class::Definition => users && end == "frm",
            Class::SystemDefinition => system && end == "frm",
            Class::Partitions => end == "par",
            Class::Trigger => users && end == "TRG",
            Class::TriggerName => users && end == "TRN",
            Class::DbOpt => users && name == "db.opt",
            Class::AriaData => users && end == "MAD",
            Class::AriaIndex => users && end == "MAI",
            Class::SystemAriaData => system && end == "MAD",
            Class::SystemAriaIndex => system && end == "MAI",
            Class::MyisamData => users && end == "MYD",
            Class::MyisamIndex => users && end == "MYI",
            Class::CsvData => users && end == "CSV",
            Class::CsvMeta => users && end == "CSM",
            Class::Merge => users && end == "MRG",
            Class::SystemTablespace => path == "ibdata1",
            Class::Undo => directory.is_empty() && stem.starts_with("undo0"),
            Class::Redo => path == "ib_logfile0",
            Class::AriaLog => path == "aria_log.00000001",
            Class::AriaControl => path == "aria_log_control",
            Class::Checkpoints => directory.is_empty() && name.ends_with("_checkpoints"),
            Class::BinlogInfo => directory.is_empty() && name.ends_with("_binlog_info"),
            Class::Info => matches!(path, "xtrabackup_info" | "mariadb_backup_info"),
            Class::OptionsFile => path == "backup-my.cnf",
        }
    }

    /// Bytes of a page where the file has pages. Elsewhere it is the length that is zeroed at once.
    fn page(self) -> usize {
        match self {
            Class::CompressedTable => 8 << 10,
            Class::AriaData | Class::AriaIndex | Class::SystemAriaData | Class::SystemAriaIndex => 8 << 10,
            Class::MyisamData | Class::MyisamIndex | Class::Redo => 1 << 10,
            Class::Table | Class::Partition | Class::FullText | Class::SystemTable => 16 << 10,
            Class::SystemTablespace | Class::Undo => 16 << 10,
            _ => 64,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Damage {
    LeftOut,
    Emptied,
    /// Its second half is missing.
    Halved,
    LastPageCut,
    FirstPageZeroed,
    /// The root of a table's first index.
    RootZeroed,
    /// One of the pages behind the root.
    LaterPageZeroed,
    AllZeroed,
    /// It trades its contents with another file of its class.
    Swapped,
    /// It has the contents of another file, which then exist twice.
    Doubled,
    /// Some bytes in its middle differ.
    Garbled,
}

/// One file of a class; a number picks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Victim {
    pub class: Class,
    pub pick: u64,
}

/// The place where a copy is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The donor's files, before the backup.
    Donor,
    /// The stream, between the tool and its reader.
    Stream,
    /// The prepared files, before they are published.
    Stage,
}

/// A damaged file and another of its class after the damage. A file that is left out is `None`.
struct Harmed {
    file: Option<Vec<u8>>,
    other: Option<Vec<u8>>,
}

/// The two files after the damage; `None` where the damage is impossible or changes nothing.
fn harm(damage: Damage, victim: &Victim, file: &[u8], other: Option<&[u8]>) -> Option<Harmed> {
    let page = victim.class.page();
    let zeroed = |from: usize, to: usize| {
        let mut bytes = file.to_vec();
        bytes.get_mut(from..to.min(file.len()))?.fill(0);
        Some(bytes)
    };
    let harmed = match damage {
        Damage::LeftOut => return Some(Harmed { file: None, other: None }),
        Damage::Emptied => Vec::new(),
        Damage::Halved => file[..file.len() / 2 / page * page.min(file.len())].to_vec(),
        Damage::LastPageCut => file[..file.len().checked_sub(page)?].to_vec(),
        Damage::FirstPageZeroed => zeroed(0, page)?,
        Damage::RootZeroed => zeroed(3 * page, 4 * page)?,
        Damage::LaterPageZeroed => {
            // A page with contents.
            let used = |number: &usize| {
                file.chunks(page).nth(*number).is_some_and(|bytes| bytes.iter().any(|byte| *byte != 0))
            };
            let later: Vec<usize> = (4..file.len() / page).filter(used).collect();
            let number = *later.get(victim.pick as usize / 7 % later.len().max(1))?;
            zeroed(number * page, (number + 1) * page)?
        }
        Damage::AllZeroed => zeroed(0, file.len())?,
        Damage::Swapped | Damage::Doubled => other?.to_vec(),
        Damage::Garbled => {
            let mut bytes = file.to_vec();
            let middle = bytes.len() / 2;
            bytes.get_mut(middle..middle + 8)?.iter_mut().for_each(|byte| *byte ^= 0x5a);
            bytes
        }
    };
    let other = (damage == Damage::Swapped).then(|| file.to_vec());
    (harmed != file).then_some(Harmed { file: Some(harmed), other })
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Class::Table => "table (.ibd)",
            Class::CompressedTable => "compressed table (.ibd)",
            Class::Partition => "partition (.ibd)",
            Class::FullText => "full-text index (.ibd)",
            Class::SystemTable => "system table (.ibd)",
            Class::Definition => "definition (.frm)",
            Class::SystemDefinition => "system table's definition (.frm)",
            Class::Partitions => "list of partitions (.par)",
            Class::Trigger => "triggers (.TRG)",
            Class::TriggerName => "trigger's name (.TRN)",
            Class::DbOpt => "db.opt",
            Class::AriaData => "Aria data (.MAD)",
            Class::AriaIndex => "Aria index (.MAI)",
            Class::SystemAriaData => "system table (.MAD)",
            Class::SystemAriaIndex => "system table (.MAI)",
            Class::MyisamData => "MyISAM data (.MYD)",
            Class::MyisamIndex => "MyISAM index (.MYI)",
            Class::CsvData => "CSV data (.CSV)",
            Class::CsvMeta => "CSV state (.CSM)",
            Class::Merge => "MERGE table (.MRG)",
            Class::SystemTablespace => "ibdata1",
            Class::Undo => "undo tablespace",
            Class::Redo => "redo log",
            Class::AriaLog => "Aria log",
            Class::AriaControl => "aria_log_control",
            Class::Checkpoints => "checkpoints file",
            Class::BinlogInfo => "binlog_info file",
            Class::Info => "info file",
            Class::OptionsFile => "backup-my.cnf",
        })
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Damage::LeftOut => "left out",
            Damage::Emptied => "emptied",
            Damage::Halved => "halved",
            Damage::LastPageCut => "last page cut",
            Damage::FirstPageZeroed => "first page zeroed",
            Damage::RootZeroed => "root page zeroed",
            Damage::LaterPageZeroed => "later page zeroed",
            Damage::AllZeroed => "zeroed",
            Damage::Swapped => "swapped with another",
            Damage::Doubled => "replaced by another",
            Damage::Garbled => "garbled",
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Place::Donor => "donor",
            Place::Stream => "stream",
            Place::Stage => "stage",
        })
    }
}

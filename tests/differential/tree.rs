//! A directory as a value: its files, by their path, and which directories there are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use harness::dice::Dice;

/// The names of a directory below which everything is compared.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tree {
    pub files: BTreeMap<String, Vec<u8>>,
    pub directories: BTreeSet<String>,
}

impl Tree {
    pub fn read(directory: &Path) -> Tree {
        let mut tree = Tree::default();
        for path in below(directory) {
            let name = path.strip_prefix(directory).unwrap().as_os_str().as_bytes().escape_ascii().to_string();
            if path.is_dir() {
                tree.directories.insert(name);
            } else {
                tree.files.insert(name, fs::read(&path).unwrap());
            }
        }
        tree
    }

    pub fn write(&self, directory: &Path) {
        for name in &self.directories {
            fs::create_dir(directory.join(name)).unwrap();
        }
        for (name, contents) in &self.files {
            fs::write(directory.join(name), contents).unwrap();
        }
    }

    /// Adds a file, and its directory.
    pub fn insert(&mut self, name: &str, contents: Vec<u8>) {
        if let Some((directory, _)) = name.split_once('/') {
            self.directories.insert(directory.to_owned());
        }
        self.files.insert(name.to_owned(), contents);
    }

    /// Fails with the name of the difference, and leaves out the contents.
    #[track_caller]
    pub fn must_equal(&self, other: &Tree, what: &str) {
        assert_eq!(self.directories, other.directories, "{what}: directories differ");
        let names = |tree: &Tree| tree.files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(self), names(other), "{what}: files differ");
        for (name, contents) in &self.files {
            let theirs = &other.files[name];
            let differs = contents.iter().zip(theirs).position(|(one, two)| one != two);
            assert!(
                contents == theirs,
                "{what}: {name} of {} and {} bytes differs at {differs:?}",
                contents.len(),
                theirs.len()
            );
        }
    }
}

/// Everything below a directory; links are not followed.
fn below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let entry = entry.unwrap();
            found.push(entry.path());
            if entry.file_type().unwrap().is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    found
}

/// Only owner and group may read a database.
pub fn must_be_private(directory: &Path) {
    for path in below(directory) {
        let mode = fs::symlink_metadata(&path).unwrap().mode();
        let allowed = if path.is_dir() { 0o770 } else { 0o660 };
        assert_eq!(mode & 0o7777 & !allowed, 0, "{} has mode {mode:o}", path.display());
    }
}

/// Names that servers give their files.
pub const NAMES: [&str; 20] = [
    "ibdata1",
    "undo001",
    "ib_logfile0",
    "ib_buffer_pool",
    "aria_log_control",
    "aria_log.00000001",
    "backup-my.cnf",
    "#innodb_redo/#ib_redo12",
    "db/db.opt",
    "db/table.ibd",
    "db/table.frm",
    "db/t#P#p0#SP#p0sp1.ibd",
    "db/#sql-alter-1f-3.ibd",
    "db/t.TRG",
    "mysql/global_priv.MAD",
    "mysql/global_priv.MAI",
    "we@0020ird@002dn@0kme/t@0020t.ibd",
    "@4e2d@6587/@0e01.MYD",
    "performance_schema/db.opt",
    "sys/x@0024sessions.frm",
];

/// One of the names above, or one like them that no other tree has.
pub fn name(dice: &mut Dice) -> String {
    let name = NAMES[dice.below(NAMES.len() as u64) as usize];
    if dice.below(2) == 0 { name.to_owned() } else { format!("{name}@{:04x}", dice.below(1 << 16)) }
}

/// Bytes without a pattern.
pub fn contents(dice: &mut Dice, length: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| dice.roll().to_le_bytes()).collect();
    bytes.truncate(length);
    bytes
}

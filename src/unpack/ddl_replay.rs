//! Detects tables that mariadb-backup has lost to DDL during the backup.
//!
//! The tool copies all tables first. Then it replays the server's log of tables that were created, renamed or
//! dropped meanwhile, as if all of that had happened after the copies (ddl_log.cc; seen with 10.11.19). It ends
//! with success even if that removes the wrong tables:
//!
//! - A table that was dropped and created again before its copy is removed.
//! - A table that was created and renamed is copied under neither name.
//! - A table is renamed, and another table takes its name before the copy. Then the other table is renamed
//!   instead.
//!
//! InnoDB's tables are lost in the same way when their database is dropped and created again.
//!
//! The stream reveals the loss. Definitions (`.frm`) are copied after the last possible DDL, so each definition
//! in the stream belongs to an existing table. This gives three rules:
//!
//! - A removed definition has to come again.
//! - Data removed beside a remaining definition have to come again, or by a rename.
//! - Data renamed from a name that another table had too, later or in the end, may belong to that table. They are
//!   right if that table's data come again, because the earlier ones were then too old. Otherwise they are in
//!   doubt.
//!
//! A good backup of tables that take turns with one name may look the same, and is refused as well.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::path::MemberPath;
use super::{UnpackError, malformed};

/// A server with more changed tables during a backup has to wait for a quieter time.
pub const MOST: usize = 1024;

/// A renamed file that may be missing: ARCHIVE has it only while it optimises a table.
const PASSING: &[u8] = b".ARM";

const DEFINITION: &[u8] = b".frm";

/// Files copied together with the definitions, and only then.
const WITH_DEFINITIONS: [&[u8]; 4] = [DEFINITION, b".par", b".TRG", b".TRN"];

/// Markers that tell prepare of dropped or renamed InnoDB tables. Data beside a marker are leftovers.
pub const NOTES: [&[u8]; 2] = [b".del", b".ren"];

/// Names under which files are still due.
#[derive(Default)]
pub struct Lost {
    /// New names of files that never came.
    renamed: BTreeSet<MemberPath>,
    /// Removed files that came with the definitions.
    dropped: BTreeSet<MemberPath>,
    /// Definitions of tables whose data came and were removed.
    emptied: BTreeSet<MemberPath>,
    /// Definitions of tables whose data may belong to another table.
    doubtful: BTreeSet<MemberPath>,
    /// Renamed files, by their names in the stream.
    moves: BTreeMap<MemberPath, Move>,
}

struct Move {
    /// The file's present name.
    now: MemberPath,
    /// Whether another table has the old name in the end.
    is_reused: bool,
}

impl Lost {
    /// A file has arrived under this name.
    pub fn came(&mut self, path: &MemberPath) {
        self.renamed.remove(path);
        self.dropped.remove(path);
        self.moves.retain(|_, file| file.now != *path);
        if let Some(definition) = definition_of(path).filter(|definition| is_data_of(definition, path)) {
            self.emptied.remove(&definition);
            self.doubtful.remove(&definition);
        }
    }

    /// DDL on this path was replayed. A file renamed away from here earlier now shares its old name with another
    /// table.
    pub fn said_of(&mut self, path: &MemberPath) -> Result<(), UnpackError> {
        let again = self.moves.iter().filter(|(old, _)| path.means(old));
        for definition in again.filter_map(|(_, file)| definition_of(&file.now)) {
            note(&mut self.doubtful, definition)?;
        }
        Ok(())
    }

    /// A file that never came was renamed. The new name is missing, too.
    pub fn renamed(&mut self, from: &MemberPath, to: &MemberPath) -> Result<(), UnpackError> {
        self.renamed.remove(from);
        if to.ends_with(PASSING) { Ok(()) } else { note(&mut self.renamed, to.clone()) }
    }

    /// The file came under its new name instead of the old one.
    pub fn found(&mut self, from: &MemberPath, to: &MemberPath) {
        self.renamed.remove(from);
        self.renamed.remove(to);
    }

    /// A file that had come was renamed. `is_reused` means that another table has a definition under its old
    /// name.
    pub fn moved(&mut self, from: &MemberPath, to: &MemberPath, is_reused: bool) -> Result<(), UnpackError> {
        self.found(from, to);
        let (Some(old), Some(new)) = (definition_of(from), definition_of(to)) else { return Ok(()) };
        self.emptied.remove(&new);
        let was_doubtful = self.doubtful.contains(&old);
        let returns = !was_doubtful && self.moves.get(to).is_some_and(|file| file.now == *from);
        let mut is_clean = !is_reused && !was_doubtful;
        for file in self.moves.values_mut().filter(|file| file.now == *from) {
            is_clean &= !file.is_reused;
            file.now = to.clone();
        }
        if returns {
            self.moves.remove(to);
            self.doubtful.remove(&new);
            return Ok(());
        }
        self.moves.insert(from.clone(), Move { now: to.clone(), is_reused });
        if is_reused {
            note(&mut self.doubtful, old)?;
        }
        if was_doubtful {
            note(&mut self.doubtful, new)?;
        } else if is_clean {
            self.doubtful.remove(&new);
        }
        if self.moves.len() > MOST { too_many() } else { Ok(()) }
    }

    /// Dropped files are no longer due.
    pub fn removed(&mut self, path: &MemberPath) {
        self.renamed.retain(|lost| !path.means(lost));
    }

    /// A file that had come was removed.
    pub fn gone(&mut self, path: &MemberPath) -> Result<(), UnpackError> {
        self.moves.retain(|_, file| file.now != *path);
        let came_late = WITH_DEFINITIONS.iter().any(|suffix| path.ends_with(suffix));
        if came_late { note(&mut self.dropped, path.clone()) } else { Ok(()) }
    }

    /// Data that had come were removed, while the definition of their table remains.
    pub fn emptied(&mut self, definition: MemberPath) -> Result<(), UnpackError> {
        note(&mut self.emptied, definition)
    }

    /// Definitions that need data at the stream's end.
    pub fn without_data(&self) -> impl Iterator<Item = &MemberPath> {
        self.emptied.iter()
    }

    /// Definitions that may have another table's data, unless the table is InnoDB's.
    pub fn doubtful(&self) -> impl Iterator<Item = &MemberPath> {
        self.doubtful.iter()
    }

    /// Fails at the stream's end if a file is lost.
    pub fn check(&self) -> Result<(), UnpackError> {
        let lost = |path: &MemberPath, how: &str| {
            malformed(format!("it lacks {path}, whose table was {how} during the backup: another backup will have it"))
        };
        match (self.renamed.first(), self.dropped.first()) {
            (Some(path), _) => lost(path, "created and renamed"),
            (None, Some(path)) => lost(path, "dropped and created again"),
            (None, None) => Ok(()),
        }
    }
}

fn note(names: &mut BTreeSet<MemberPath>, path: MemberPath) -> Result<(), UnpackError> {
    names.insert(path);
    if names.len() > MOST { too_many() } else { Ok(()) }
}

pub fn too_many() -> Result<(), UnpackError> {
    malformed(format!("more than {MOST} files of tables were renamed or dropped during the backup"))
}

/// The defining file of the table that a file belongs to. Table names are free of `.` and `#`: the server writes
/// them as `@002e` and `@0023`.
pub fn definition_of(path: &MemberPath) -> Option<MemberPath> {
    let (directory, name) = path.split();
    let name = name.as_bytes();
    let length = name.windows(3).position(|bytes| bytes[0] == b'.' || bytes == b"#P#")?;
    let directory = directory.map(OsStr::as_bytes)?;
    MemberPath::new(&[directory, b"/", &name[..length], DEFINITION].concat()).ok()
}

/// Whether a file holds data of the table with this definition.
pub fn is_data_of(definition: &MemberPath, path: &MemberPath) -> bool {
    let is_beside = |suffix: &&[u8]| path.ends_with(suffix);
    !WITH_DEFINITIONS.iter().chain(&NOTES).any(is_beside) && definition_of(path).as_ref() == Some(definition)
}

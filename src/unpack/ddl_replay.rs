//! What mariadb-backup has lost.
//!
//! When it has copied all tables it goes through the server's log of those that were made, renamed and dropped meanwhile, as
//! if all of that had happened after its copies (ddl_log.cc; seen with 10.11.19). It ends with success, whatever comes of
//! it: a table that was dropped and made again before it was copied is removed; one that was made and renamed has no copy by
//! either name; and where the name of one that was renamed has been taken by another before that was copied, the other is
//! renamed instead. InnoDB's tables are lost so, too, with a database that was dropped and made again.
//!
//! The stream shows it, for definitions (`.frm`) are copied when no table can be made or dropped any more: there is a
//! table for each that comes. So
//!
//! - a definition that is removed has to come again;
//! - data that are removed while their definition stays have to come again, or by a rename;
//! - data that are renamed from a name that had another table too, later or in the end, may be that one's. They are right
//!   where the other's come again, for then what was there was too old; else nobody knows.
//!
//! A good backup of tables that have one name in turns may look like that, and is refused with the bad ones.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::path::MemberPath;
use super::{UnpackError, malformed};

/// A server that changes more tables in the time of a backup has to wait for a quieter one.
pub const MOST: usize = 1024;

/// What is renamed and never need be there: ARCHIVE has it only while it optimises a table.
const PASSING: &[u8] = b".ARM";

const DEFINITION: &[u8] = b".frm";

/// What is copied with the definitions, and not once more when a table is.
const WITH_DEFINITIONS: [&[u8]; 4] = [DEFINITION, b".par", b".TRG", b".TRN"];

/// What tells prepare of InnoDB's tables that they were dropped or renamed: what lies there by that name is a left-over.
pub const NOTES: [&[u8]; 2] = [b".del", b".ren"];

/// Names by which something has to come yet.
#[derive(Default)]
pub struct Lost {
    /// New names of what never came.
    renamed: BTreeSet<MemberPath>,
    /// What came with the definitions and was removed.
    dropped: BTreeSet<MemberPath>,
    /// Definitions of tables whose data came and were removed.
    emptied: BTreeSet<MemberPath>,
    /// Definitions of tables whose data may be another's.
    doubtful: BTreeSet<MemberPath>,
    /// Files that were renamed, by the names that they came by.
    moves: BTreeMap<MemberPath, Move>,
}

struct Move {
    /// The name that the file has now.
    now: MemberPath,
    /// Whether the name that it had is another table's in the end.
    is_reused: bool,
}

impl Lost {
    /// A file has come by this name.
    pub fn came(&mut self, path: &MemberPath) {
        self.renamed.remove(path);
        self.dropped.remove(path);
        self.moves.retain(|_, file| file.now != *path);
        if let Some(definition) = definition_of(path).filter(|definition| is_data_of(definition, path)) {
            self.emptied.remove(&definition);
            self.doubtful.remove(&definition);
        }
    }

    /// Something was said of what had this name, or of all below it: where a file was renamed from there, there was another.
    pub fn said_of(&mut self, path: &MemberPath) -> Result<(), UnpackError> {
        let again = self.moves.iter().filter(|(old, _)| path.means(old));
        for definition in again.filter_map(|(_, file)| definition_of(&file.now)) {
            note(&mut self.doubtful, definition)?;
        }
        Ok(())
    }

    /// What never came has another name now, of which nothing is there either.
    pub fn renamed(&mut self, from: &MemberPath, to: &MemberPath) -> Result<(), UnpackError> {
        self.renamed.remove(from);
        if to.ends_with(PASSING) { Ok(()) } else { note(&mut self.renamed, to.clone()) }
    }

    /// What had the old name came by the new one.
    pub fn found(&mut self, from: &MemberPath, to: &MemberPath) {
        self.renamed.remove(from);
        self.renamed.remove(to);
    }

    /// A file that had come has another name now; of the table whose name it had there may be a definition.
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

    /// What was dropped in the end isn't missed.
    pub fn removed(&mut self, path: &MemberPath) {
        self.renamed.retain(|lost| !path.means(lost));
    }

    /// A file that had come is gone.
    pub fn gone(&mut self, path: &MemberPath) -> Result<(), UnpackError> {
        self.moves.retain(|_, file| file.now != *path);
        let came_late = WITH_DEFINITIONS.iter().any(|suffix| path.ends_with(suffix));
        if came_late { note(&mut self.dropped, path.clone()) } else { Ok(()) }
    }

    /// Data that had come are gone, and the definition of their table is there.
    pub fn emptied(&mut self, definition: MemberPath) -> Result<(), UnpackError> {
        note(&mut self.emptied, definition)
    }

    /// Definitions beside which there must be data at the stream's end.
    pub fn without_data(&self) -> impl Iterator<Item = &MemberPath> {
        self.emptied.iter()
    }

    /// Definitions beside which there may be another's data, where they are no table of InnoDB's.
    pub fn doubtful(&self) -> impl Iterator<Item = &MemberPath> {
        self.doubtful.iter()
    }

    /// At the stream's end nothing may be lost.
    pub fn check(&self) -> Result<(), UnpackError> {
        let lost = |path: &MemberPath, how: &str| {
            malformed(format!(
                "it lacks {path}, whose table was {how} while the backup was taken: another backup has it"
            ))
        };
        match (self.renamed.first(), self.dropped.first()) {
            (Some(path), _) => lost(path, "made and renamed"),
            (None, Some(path)) => lost(path, "dropped and made again"),
            (None, None) => Ok(()),
        }
    }
}

fn note(names: &mut BTreeSet<MemberPath>, path: MemberPath) -> Result<(), UnpackError> {
    names.insert(path);
    if names.len() > MOST { too_many() } else { Ok(()) }
}

pub fn too_many() -> Result<(), UnpackError> {
    malformed(format!("more than {MOST} files of tables were renamed or dropped while it was taken"))
}

/// The definition of the table that a file is of: no `.` and no `#` are in a table's name, the server writes them as
/// `@002e` and `@0023`.
pub fn definition_of(path: &MemberPath) -> Option<MemberPath> {
    let (directory, name) = path.split();
    let name = name.as_bytes();
    let length = name.windows(3).position(|bytes| bytes[0] == b'.' || bytes == b"#P#")?;
    let directory = directory.map(OsStr::as_bytes)?;
    MemberPath::new(&[directory, b"/", &name[..length], DEFINITION].concat()).ok()
}

/// Whether a file is of the table that is defined there, and its data.
pub fn is_data_of(definition: &MemberPath, path: &MemberPath) -> bool {
    let is_beside = |suffix: &&[u8]| path.ends_with(suffix);
    !WITH_DEFINITIONS.iter().chain(&NOTES).any(is_beside) && definition_of(path).as_ref() == Some(definition)
}

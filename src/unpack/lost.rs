//! What mariadb-backup has lost.
//!
//! When it has copied all tables it goes through the server's log of those that were made, renamed and dropped meanwhile, as
//! if all of that had happened after its copies (ddl_log.cc; seen with 10.11.19). It ends with success, whatever comes of
//! it: a table that was dropped and made again before it was copied is removed; one that was made and renamed has no copy by
//! either name; and where the name of one that was renamed has been taken by another before that was copied, the other is
//! renamed instead. InnoDB's tables are lost so, too, with a database that was dropped and made again.
//!
//! The stream shows it, for a definition (`.frm`) is copied when no table can be made or dropped any more: there is a
//! table for each that comes. So a definition that is removed has to come again, and data that are removed or renamed while
//! their definition stays: as data that are copied once more because they were too old, or by a rename from a name that
//! nothing has any more, which was copied before it was renamed.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::path::MemberPath;
use super::{UnpackError, malformed};

/// A server that changes more tables in the time of a backup has to wait for a quieter one.
const MOST: usize = 256;

/// What is renamed and never need be there: ARCHIVE has it only while it optimises a table.
const PASSING: &[u8] = b".ARM";

const DEFINITION: &[u8] = b".frm";

/// What lies beside a definition and is no data.
const BESIDE: [&[u8]; 3] = [b".frm", b".par", b".TRG"];

/// Names by which something has to come yet.
#[derive(Default)]
pub struct Lost {
    /// New names of what never came.
    renamed: BTreeSet<MemberPath>,
    /// Definitions that came and were removed.
    dropped: BTreeSet<MemberPath>,
    /// Definitions of tables whose data came and were removed.
    emptied: BTreeSet<MemberPath>,
    /// Definitions of tables whose data were renamed: the table of that name is another.
    reused: BTreeSet<MemberPath>,
    /// Definitions of tables whose data were renamed from such a name: they may be the other's.
    doubtful: BTreeSet<MemberPath>,
}

impl Lost {
    /// A file has come by this name.
    pub fn came(&mut self, path: &MemberPath) {
        self.renamed.remove(path);
        self.dropped.remove(path);
        for names in [&mut self.emptied, &mut self.reused] {
            names.retain(|definition| !is_data_of(definition, path));
        }
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
    pub fn moved(&mut self, from: &MemberPath, to: &MemberPath, is_defined: bool) -> Result<(), UnpackError> {
        self.found(from, to);
        let (Some(old), Some(new)) = (definition_of(from), definition_of(to)) else { return Ok(()) };
        self.emptied.remove(&new);
        let is_doubtful = is_defined || self.doubtful.contains(&old);
        if is_defined {
            note(&mut self.reused, old)?;
        }
        if is_doubtful {
            note(&mut self.doubtful, new)
        } else {
            self.reused.remove(&new);
            Ok(())
        }
    }

    /// What was dropped in the end isn't missed.
    pub fn removed(&mut self, path: &MemberPath) {
        self.renamed.retain(|lost| !path.means(lost));
    }

    /// A file that had come is gone.
    pub fn gone(&mut self, path: &MemberPath) -> Result<(), UnpackError> {
        if path.ends_with(DEFINITION) { note(&mut self.dropped, path.clone()) } else { Ok(()) }
    }

    /// Data that had come are gone, and the definition of their table is there.
    pub fn emptied(&mut self, definition: MemberPath) -> Result<(), UnpackError> {
        note(&mut self.emptied, definition)
    }

    /// Definitions beside which there must be data at the stream's end.
    pub fn without_data(&self) -> impl Iterator<Item = &MemberPath> {
        self.emptied.iter()
    }

    /// At the stream's end nothing may be lost.
    pub fn check(&self) -> Result<(), UnpackError> {
        let lost = |path: &MemberPath, how: &str| {
            malformed(format!(
                "it lacks {path}, whose table was {how} while the backup was taken: another backup has it"
            ))
        };
        match (self.renamed.first(), self.dropped.first(), self.reused.first()) {
            (Some(path), ..) => lost(path, "made and renamed"),
            (_, Some(path), _) => lost(path, "dropped and made again"),
            (.., Some(path)) => malformed(format!(
                "it may have other data for {path}, whose name was given from table to table while the backup was taken: \
                 another backup has the right ones"
            )),
            _ => Ok(()),
        }
    }
}

fn note(names: &mut BTreeSet<MemberPath>, path: MemberPath) -> Result<(), UnpackError> {
    names.insert(path);
    if names.len() > MOST {
        return malformed(format!(
            "it lacks more than {MOST} files of tables that were renamed or dropped while it was taken"
        ));
    }
    Ok(())
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

/// Whether a file is of the table that is defined there, and more than its definition.
pub fn is_data_of(definition: &MemberPath, path: &MemberPath) -> bool {
    !BESIDE.iter().any(|suffix| path.ends_with(suffix)) && definition_of(path).as_ref() == Some(definition)
}

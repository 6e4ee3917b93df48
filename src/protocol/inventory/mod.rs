//! The inventory: what a donor's server held both before a copy was begun and after it had ended. A recipient proves by
//! it that the prepared copy lacks none of that.
//!
//! ```text
//!  donor      look ──▶ copy ──▶ look ──▶ what is in both ([`look`]) ──▶ bytes ([`encoding`])
//!  recipient  bytes ──▶ stage/inventory ──▶ prepare ──▶ [`check`], by each file's first page ([`first_page`])
//! ```
//!
//! A tablespace of InnoDB is known by its id, which a rename leaves and which no other tablespace ever has. All else is
//! known by its name, and counts only where it was not touched by DDL between the two looks. So nothing that was created,
//! dropped, renamed or truncated while the copy was made is missed. The donor compares its looks itself: a list of what
//! is in both is half as long as two lists, and the recipient has one rule less to get wrong.

pub mod encoding;
pub mod engines;
pub mod look;

use crate::unpack::path::MemberPath;

/// Entries that an inventory may have. A server with more tables is refused.
pub const MOST_ENTRIES: usize = 500_000;

/// Bytes that an encoded inventory may have.
pub const MOST_BYTES: u64 = 32 << 20;

/// What must be in a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    /// Whether the server keeps the definition of each table in a file beside it (`.frm`).
    pub keeps_definitions: bool,
    pub entries: Vec<Entry>,
}

/// One thing of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// In the data directory, before the copy was begun.
    pub path: MemberPath,
    pub kind: Kind,
}

/// By what it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A tablespace with an id that it keeps.
    Tablespace {
        id: u32,
        /// Its name after the copy had ended, where that is another.
        renamed_to: Option<MemberPath>,
        definition: Definition,
    },
    /// A file of the system tablespace, the first of which speaks for all; in the order of the server's configuration.
    System,
    /// A tablespace of undo logs, which may get a new id when it is truncated.
    Undo,
    /// A file of another engine, or one that defines something. Its length is known where nothing has written to it.
    File { length: Option<u32> },
}

/// What is known of the file that defines a tablespace's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Definition {
    /// There was none at one of the looks: a helper of a full-text index, or a server that keeps none.
    Unknown,
    /// There was one at both, and it was written meanwhile.
    Changed,
    /// There was one, of this length, that nobody touched.
    Untouched { length: u32 },
}

/// The file that would define the table that a file is of: no `.` and no `#` is in a table's name, a server writes them
/// as `@002e` and `@0023`. `None` for files that lie in no database's directory.
pub fn definition_of(path: &MemberPath) -> Option<MemberPath> {
    let (directory, name) = path.split();
    let (directory, name) = (directory?.as_encoded_bytes(), name.as_encoded_bytes());
    let is_end = |bytes: &[u8]| bytes[0] == b'.' || bytes[0] == b'#';
    let length = name.windows(1).position(is_end)?;
    MemberPath::new(&[directory, b"/", &name[..length], b".frm"].concat()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_table_is_defined_beside_it() {
        for (file, definition) in [
            ("app/t.ibd", Some("app/t.frm")),
            ("app/t#P#p0.MAD", Some("app/t.frm")),
            ("app/t#p#p0#sp#s1.ibd", Some("app/t.frm")),
            ("app/t@0023.TRG", Some("app/t@0023.frm")),
            ("ibdata1", None),
            ("app/plain", None),
        ] {
            let definition = definition.map(|path| MemberPath::new(path.as_bytes()).unwrap());
            assert_eq!(definition_of(&MemberPath::new(file.as_bytes()).unwrap()), definition, "{file}");
        }
    }
}

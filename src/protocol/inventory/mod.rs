//! The inventory: tables and files that a donor's server held both before and after a copy. The recipient uses it
//! to prove that the prepared copy has all of them.
//!
//! ```text
//!  donor      look ──▶ copy ──▶ look ──▶ what is in both ([`look`]) ──▶ bytes ([`encoding`])
//!  recipient  bytes ──▶ stage/inventory ──▶ prepare ──▶ [`check`], by each file's first page ([`first_page`])
//! ```
//!
//! A tablespace of InnoDB is identified by its id, which survives a rename and is unique forever. Everything else
//! is identified by its name, and counts only if DDL left it alone between the two looks. So tables created,
//! dropped, renamed or truncated during the copy cause no false alarm.
//!
//! The donor compares its looks itself: the list of common entries is half as long as two lists, and the
//! recipient needs one rule less.

pub mod encoding;
pub mod engines;
pub mod server_look;

use crate::unpack::path::MemberPath;

/// The largest number of entries. A server with more tables is refused.
pub const MOST_ENTRIES: usize = 500_000;

/// The largest encoded inventory in bytes.
pub const MOST_BYTES: u64 = 32 << 20;

/// Required contents of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    /// Whether the server keeps the definition of each table in a file beside it (`.frm`).
    pub keeps_definitions: bool,
    pub entries: Vec<Entry>,
}

/// One required tablespace or file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path in the data directory before the copy.
    pub path: MemberPath,
    pub kind: Kind,
}

/// How an entry is identified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A tablespace with a stable id.
    Tablespace {
        id: u32,
        /// Its name after the copy, if it was renamed.
        renamed_to: Option<MemberPath>,
        definition: Definition,
    },
    /// A file of the system tablespace, in the order of the server's configuration. The first identifies all.
    System,
    /// A tablespace of undo logs. Truncating it may give it a new id.
    Undo,
    /// A file of another engine, or a defining file. The length is known if the file was left unwritten.
    File { length: Option<u32> },
}

/// The state of the file that defines a tablespace's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Definition {
    /// It was missing in one of the looks: for a helper of a full-text index, or on a server without such files.
    Unknown,
    /// It was in both looks, and was written in between.
    Changed,
    /// It was in both looks, untouched and with this length.
    Untouched { length: u32 },
}

/// The defining file of the table that a file belongs to. Table names are free of `.` and `#`: a server
/// writes them as `@002e` and `@0023`. `None` for files outside the databases' directories.
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

//! Which Aria tables a MariaDB server has, by its files: an account needs no privilege on a table to flush it, but
//! it would need one to see it in `information_schema`.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::identifier;

/// The extension of an Aria table's index file.
const INDEX_FILE: &str = ".MAI";

/// Separates a table's name from those of its partitions in file names.
const PARTITION: &str = "#P#";

/// What `FLUSH TABLES` is to name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tables {
    /// These, as quoted `schema`.`table`; there may be none.
    Named(BTreeSet<String>),
    /// All of the server's: one has a name that we can't read from its file's.
    All,
}

/// Lists the Aria tables below a data directory. Temporary ones, and a rebuild's that is under way, don't count.
pub fn tables(data_dir: &Path) -> io::Result<Tables> {
    let mut found = BTreeSet::new();
    for schema in std::fs::read_dir(data_dir)?.flatten().filter(|entry| entry.path().is_dir()) {
        // Directories that aren't schemas, as lost+found, may be closed to us; a schema may be dropped meanwhile.
        for file in std::fs::read_dir(schema.path()).into_iter().flatten().flatten() {
            let (schema, file) = (schema.file_name(), file.file_name());
            let (schema, file) = (schema.to_string_lossy(), file.to_string_lossy());
            let Some(table) = file.strip_suffix(INDEX_FILE).filter(|table| !table.starts_with('#')) else { continue };
            let table = table.split(PARTITION).next().unwrap_or(table);
            match (name_of(&schema), name_of(table)) {
                (Some(schema), Some(table)) => {
                    found.insert(format!("{}.{}", identifier(&schema), identifier(&table)));
                }
                _ => return Ok(Tables::All),
            }
        }
    }
    Ok(Tables::Named(found))
}

/// A name from a file's: what isn't a letter, a digit or `_` is `@` and four hexadecimal digits. `None` for the
/// shorter codes of some letters beyond ASCII. (MySQL reference manual, "Mapping of Identifiers to File Names")
fn name_of(file: &str) -> Option<String> {
    let mut pieces = file.split('@');
    let mut name = pieces.next()?.to_owned();
    for piece in pieces {
        let code = piece.get(..4).filter(|code| code.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        name.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
        name.push_str(&piece[4..]);
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data_dir(files: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for file in files {
            let path = directory.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        directory
    }

    #[test]
    fn lists_aria_tables_and_nothing_else() {
        let directory = data_dir(&[
            "aria_log_control",
            "mysql/db.MAI",
            "mysql/db.MAD",
            "app/t.ibd",
            "app/parts#P#p0.MAI",
            "app/parts#P#p1.MAI",
            "app/#sql-alter-1-2.MAI",
            "my@002dapp/a@0060b.MAI",
        ]);
        let expected = ["`app`.`parts`", "`my-app`.`a``b`", "`mysql`.`db`"].map(str::to_owned);
        assert_eq!(tables(directory.path()).unwrap(), Tables::Named(expected.into()));
    }

    #[test]
    fn a_name_that_cannot_be_read_means_all() {
        assert_eq!(tables(data_dir(&["app/caf@0u.MAI"]).path()).unwrap(), Tables::All);
    }
}

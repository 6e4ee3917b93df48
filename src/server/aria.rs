//! Lists the Aria tables of a MariaDB server, by its files. An account may flush every table, but sees in
//! `information_schema` only those that it has a privilege on.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::identifier;

/// The extension of an Aria table's index file.
const INDEX_FILE: &str = ".MAI";

/// Separates a table's name from those of its partitions in file names.
const PARTITION: &str = "#P#";

/// The tables that `FLUSH TABLES` must name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tables {
    /// These, as quoted `schema`.`table`; the set may be empty.
    Named(BTreeSet<String>),
    /// All of the server's, because one file name hides its table's name.
    All,
}

/// Lists the Aria tables below a data directory, except temporary ones and those of a running rebuild.
pub fn tables(data_dir: &Path) -> io::Result<Tables> {
    let mut found = BTreeSet::new();
    for schema in std::fs::read_dir(data_dir)?.flatten().filter(|entry| entry.path().is_dir()) {
        // Other directories, such as lost+found, may be closed to us; a schema may be dropped meanwhile.
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

/// Decodes a name from a file's: any character but letters, digits and `_` is `@` and four hexadecimal digits. `None`
/// for the shorter codes of some letters beyond ASCII. (MySQL reference manual, "Mapping of Identifiers to File Names")
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
    fn lists_only_aria_tables() {
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
    fn an_unreadable_name_means_all_tables() {
        assert_eq!(tables(data_dir(&["app/caf@0u.MAI"]).path()).unwrap(), Tables::All);
    }
}

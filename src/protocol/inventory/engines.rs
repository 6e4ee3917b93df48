//! Definitions without the data that their engine keeps in files.
//!
//! The donor's list has what was there before the backup and after it. A table that was made or changed meanwhile is in no
//! list, and mariadb-backup 10.11 loses the data of one whose name it has to encode: `a-b` of Aria, for instance, comes as a
//! definition alone, and the tool ends with success.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// What every definition of a table begins with; one of a view is a text.
const MAGIC: [u8; 2] = [0xfe, 0x01];

/// The byte of a definition that names the engine, and the endings of the engine's files. (`legacy_db_type` in
/// sql/handler.h; seen with 10.11.) InnoDB's may lie in a common tablespace, and the donor's list has them; a CSV table's
/// state (`.CSM`) a server makes again.
const ENGINES: [(u8, &[&str]); 4] = [(9, &["MYD", "MYI"]), (16, &["ARZ"]), (17, &["CSV"]), (42, &["MAD", "MAI"])];

/// What an interrupted change leaves behind.
const LEFTOVER: &str = "#sql";

/// The first definition in a copy that lacks a file, and that file's ending.
pub fn lacking(data: &Path) -> io::Result<Option<String>> {
    for entry in std::fs::read_dir(data)? {
        let entry = entry?;
        if entry.file_type()?.is_dir()
            && let Some(found) = lacking_in(&entry.path())?
        {
            return Ok(Some(format!("{}/{found}", entry.file_name().display())));
        }
    }
    Ok(None)
}

fn lacking_in(directory: &Path) -> io::Result<Option<String>> {
    let names = std::fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name()));
    let names = names.collect::<io::Result<BTreeSet<OsString>>>()?;
    for name in &names {
        let file = Path::new(name);
        let (Some(table), Some(ending)) = (file.file_stem(), file.extension()) else { continue };
        if ending != "frm" || table.to_string_lossy().starts_with(LEFTOVER) {
            continue;
        }
        let has = |ending: &&&str| names.contains(file.with_extension(ending).as_os_str());
        if let Some(missing) = files_of(&directory.join(file))?.iter().find(|ending| !has(ending)) {
            return Ok(Some(format!("{} has no .{missing} file", file.display())));
        }
    }
    Ok(None)
}

/// The endings of the files that a definition's engine keeps for every table.
fn files_of(definition: &Path) -> io::Result<&'static [&'static str]> {
    let mut head = [0; 4];
    match File::open(definition)?.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(&[]),
        read => read?,
    }
    let engine = ENGINES.iter().find(|(engine, _)| head[..2] == MAGIC && head[3] == *engine);
    Ok(engine.map_or(&[], |(_, endings)| endings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_has_its_engines_files() {
        let data = tempfile::tempdir().unwrap();
        let app = data.path().join("app");
        std::fs::create_dir(&app).unwrap();
        let define = |name: &str, engine: u8| std::fs::write(app.join(name), [0xfe, 1, 10, engine, 0]).unwrap();
        define("inn.frm", 12);
        define("#sql-1.frm", 42);
        define("a@002db.frm", 42);
        std::fs::write(app.join("v.frm"), "TYPE=VIEW\n").unwrap();
        std::fs::write(app.join("cut.frm"), "").unwrap();
        let lacking = || lacking(data.path()).unwrap();
        assert_eq!(lacking().as_deref(), Some("app/a@002db.frm has no .MAD file"));
        std::fs::write(app.join("a@002db.MAD"), "").unwrap();
        assert_eq!(lacking().as_deref(), Some("app/a@002db.frm has no .MAI file"));
        std::fs::write(app.join("a@002db.MAI"), "").unwrap();
        assert_eq!(lacking(), None);
        define("c.frm", 17);
        assert_eq!(lacking().as_deref(), Some("app/c.frm has no .CSV file"));
    }
}

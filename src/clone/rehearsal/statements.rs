//! The cheapest statement that notices a table whose files are not whole. (Measured; see the module's table.)

use std::path::Path;

use crate::server::dialect::Dialect;
use crate::server::opening::Table;

/// Engines whose tables lie in files of the data directory, and reach nowhere else.
const LOCAL: [&str; 9] =
    ["InnoDB", "Aria", "MyISAM", "CSV", "ARCHIVE", "MEMORY", "MRG_MyISAM", "BLACKHOLE", "PERFORMANCE_SCHEMA"];

/// MariaDB's sequences of numbers without files, which no table is of.
const WITHOUT_TABLES: [&str; 2] = ["SEQUENCE", "ndbinfo"];

/// Engines whose files are compared by `CHECK TABLE … QUICK` only.
const CHECKED: [&str; 2] = ["Aria", "MyISAM"];

/// What a table is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    Open(String),
    Check(String),
    /// Nothing: its engine would talk to another server, or keeps its rows elsewhere.
    Nothing,
}

/// What one is asked on a server of this dialect.
pub fn of(dialect: Dialect, table: &Table) -> Asked {
    let name = table.quoted();
    match table.engine.as_deref() {
        Some(engine) if is(&CHECKED, engine) => Asked::Check(format!("CHECK TABLE {name} QUICK")),
        Some(engine) if !is(&LOCAL, engine) => Asked::Nothing,
        _ => Asked::Open(format!("SELECT 1 FROM {name} LIMIT {}", dialect.rows_to_open_a_file())),
    }
}

/// Whether a running engine may reach beyond the data directory.
pub fn is_foreign(engine: &str) -> bool {
    !is(&LOCAL, engine) && !is(&WITHOUT_TABLES, engine)
}

fn is(engines: &[&str], engine: &str) -> bool {
    engines.iter().any(|name| name.eq_ignore_ascii_case(engine))
}

/// Files of engines whose tables are checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckedFiles {
    /// Whether there are some outside the server's own schemas.
    pub of_users: bool,
    /// The largest index, in bytes: that is what a check reads.
    pub largest_index: u64,
}

/// Looks for them.
pub fn checked_files(data_dir: &Path) -> CheckedFiles {
    let mut found = CheckedFiles::default();
    for schema in std::fs::read_dir(data_dir).into_iter().flatten().flatten() {
        let is_own = ["mysql", "sys", "performance_schema"].contains(&&*schema.file_name().to_string_lossy());
        for file in std::fs::read_dir(schema.path()).into_iter().flatten().flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            let is_index = [".MAI", ".MYI"].iter().any(|end| name.ends_with(end));
            if is_index {
                found.largest_index = found.largest_index.max(file.metadata().map_or(0, |metadata| metadata.len()));
            }
            found.of_users |= !is_own && (is_index || [".MAD", ".MYD"].iter().any(|end| name.ends_with(end)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, engine: Option<&str>) -> Table {
        Table { schema: "a`b".into(), name: name.into(), engine: engine.map(str::to_owned) }
    }

    #[test]
    fn each_engine_has_its_statement() {
        let [mariadb, mysql] = ["10.11.19-MariaDB", "9.7.4"].map(|version| Dialect::of(version).unwrap());
        for (dialect, engine, expected) in [
            (mariadb, None, Asked::Open("SELECT 1 FROM `a``b`.`t\"'\\` LIMIT 0".into())),
            (mariadb, Some("InnoDB"), Asked::Open("SELECT 1 FROM `a``b`.`t\"'\\` LIMIT 0".into())),
            (mariadb, Some("Aria"), Asked::Check("CHECK TABLE `a``b`.`t\"'\\` QUICK".into())),
            (mysql, Some("InnoDB"), Asked::Open("SELECT 1 FROM `a``b`.`t\"'\\` LIMIT 1".into())),
            (mysql, Some("MyISAM"), Asked::Check("CHECK TABLE `a``b`.`t\"'\\` QUICK".into())),
            (mysql, Some("FEDERATED"), Asked::Nothing),
            (mariadb, Some("SPIDER"), Asked::Nothing),
        ] {
            assert_eq!(of(dialect, &table("t\"'\\", engine)), expected, "{engine:?}");
        }
    }

    #[test]
    fn tables_to_be_checked_are_known_by_their_files() {
        let data = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: usize| {
            let path = data.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, vec![0; bytes]).unwrap();
        };
        write("mysql/db.MAI", 10);
        write("app/t.ibd", 1000);
        assert_eq!(checked_files(data.path()), CheckedFiles { of_users: false, largest_index: 10 });
        write("app/a.MYI", 20);
        assert_eq!(checked_files(data.path()), CheckedFiles { of_users: true, largest_index: 20 });
    }

    #[test]
    fn engines_that_reach_out_are_known() {
        assert!(["FEDERATED", "CONNECT", "S3", "ROCKSDB"].into_iter().all(is_foreign));
        assert!(["InnoDB", "SEQUENCE", "MRG_MYISAM", "Aria"].into_iter().all(|engine| !is_foreign(engine)));
    }
}

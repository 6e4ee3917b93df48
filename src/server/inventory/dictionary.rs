//! The tablespaces that a server's own dictionary has.
//!
//! | server | asked | |
//! |---|---|---|
//! | MariaDB | `INNODB_SYS_TABLES`, which is read from the dictionary | never `INNODB_SYS_TABLESPACES`: it has only what was opened since the start, and crashes 11.8 where that is read-only |
//! | MySQL from 8.0 on | `INNODB_DATAFILES` and `INNODB_TABLESPACES` | `mysql.ibd` is not among the former |
//! | MySQL 5.6, 5.7 | `INNODB_SYS_DATAFILES` and `INNODB_SYS_TABLES` | |
//!
//! A table whose tablespace was discarded has no file. The state of a tablespace tells that since MySQL 8.0.14. MariaDB and
//! MySQL before 8.0 tell it by the root page of the table's clustered index, of which there is none then.
//!
//! Each view is read by itself, and what belongs together is found here. A server fills a view for each statement and has no
//! index of it. Some compare each row of one with each of another. A discard between two statements does no harm: a
//! tablespace counts where both looks have it, and the second look begins after the copy has ended.
//!
//! From MySQL 8.0.0 to 8.0.13 discarded tablespaces are listed. The `FILE_SIZE` of a discarded one is 0, and so is that of one
//! whose file was lost. `INNODB_INDEXES` lacks the former, fails as a whole for the latter, and opens each table. (Seen with
//! 9.7; none of these old servers was there to be tried.)

use std::collections::HashSet;

use crate::protocol::inventory::MOST_ENTRIES;
use crate::server::Server;
use crate::server::client::Error;
use crate::server::dialect::Dialect;
use crate::server::rows::text;

/// From here on tablespaces are known by the new dictionary.
pub(super) const NEW: (u16, u16, u16) = (8, 0, 0);

/// The first version whose INNODB_TABLESPACES has a column STATE.
const WITH_STATE: (u16, u16, u16) = (8, 0, 14);

/// Clustered indexes without a root page. MySQL's column is signed, and shows such a root as -1.
const ROOTLESS: &str = "SELECT TABLE_ID FROM information_schema.INNODB_SYS_INDEXES \
                        WHERE TYPE & 1 AND (PAGE_NO IS NULL OR PAGE_NO < 0 OR PAGE_NO = 4294967295)";

/// Tables outside the system tablespace.
const TABLES: &str = "SELECT TABLE_ID, SPACE, NAME FROM information_schema.INNODB_SYS_TABLES WHERE SPACE <> 0";

const OLD_FILES: &str = "SELECT SPACE, PATH FROM information_schema.INNODB_SYS_DATAFILES WHERE SPACE <> 0";

const FILES: &str = "SELECT CAST(SPACE AS UNSIGNED), PATH FROM information_schema.INNODB_DATAFILES WHERE SPACE <> 0";

const UNDO: &str = "SELECT SPACE FROM information_schema.INNODB_TABLESPACES WHERE SPACE_TYPE = 'Undo'";

const DISCARDED: &str = "SELECT SPACE FROM information_schema.INNODB_TABLESPACES WHERE STATE = 'discarded'";

/// One with a file, as the server says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tablespace {
    pub id: String,
    pub path: String,
    pub is_undo: bool,
}

/// All that a dictionary has, but for the system tablespace and what was discarded. Of more than an inventory has room for,
/// no more is kept than tells that.
pub(super) async fn tablespaces(server: &mut Server) -> Result<Vec<Tablespace>, Error> {
    let mut found = Vec::new();
    let mut keep = |tablespace: Option<Tablespace>| {
        if found.len() <= MOST_ENTRIES {
            found.extend(tablespace);
        }
    };
    match server.dialect {
        Dialect::Mariadb => {
            let rootless = ids(server, ROOTLESS).await?;
            each(server, TABLES, |[table, id, name]| keep(of_table(&rootless, &table, id, &name))).await?;
        }
        Dialect::Mysql { version } if version < NEW => {
            let rootless = ids(server, ROOTLESS).await?;
            let mut discarded = HashSet::new();
            // A tablespace of several tables has no root of its own that could be gone.
            each(server, TABLES, |[table, id, _]| discarded.extend(rootless.contains(&table).then_some(id))).await?;
            each(server, OLD_FILES, |[id, path]| keep(of_file(&discarded, &HashSet::new(), id, path))).await?;
        }
        Dialect::Mysql { version } => {
            let undo = ids(server, UNDO).await?;
            let discarded = if version >= WITH_STATE { ids(server, DISCARDED).await? } else { HashSet::new() };
            each(server, FILES, |[id, path]| keep(of_file(&discarded, &undo, id, path))).await?;
        }
    }
    Ok(found)
}

/// MariaDB's: a table's name is its file's.
fn of_table(rootless: &HashSet<String>, table: &str, id: String, name: &str) -> Option<Tablespace> {
    (!rootless.contains(table)).then(|| Tablespace { id, path: format!("{name}.ibd"), is_undo: false })
}

fn of_file(discarded: &HashSet<String>, undo: &HashSet<String>, id: String, path: String) -> Option<Tablespace> {
    let is_undo = undo.contains(&id);
    (!discarded.contains(&id)).then_some(Tablespace { id, path, is_undo })
}

async fn ids(server: &mut Server, statement: &str) -> Result<HashSet<String>, Error> {
    let mut ids = HashSet::new();
    each(server, statement, |[id]| ids.extend([id])).await?;
    Ok(ids)
}

/// Row by row: there may be very many.
async fn each<const COLUMNS: usize>(
    server: &mut Server,
    statement: &str,
    mut take: impl FnMut([String; COLUMNS]),
) -> Result<(), Error> {
    server.connection.begin(statement).await?;
    while let Some(row) = server.connection.next().await? {
        let mut values = row.into_iter();
        take(std::array::from_fn(|_| values.next().and_then(text).unwrap_or_default()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[&str]) -> HashSet<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    /// The views of MySQL 5.6 and 5.7 are as long as there are tables, and so is each look into one of them.
    #[test]
    fn each_statement_reads_one_view() {
        for statement in [ROOTLESS, TABLES, OLD_FILES, FILES, UNDO, DISCARDED] {
            assert_eq!(statement.matches("information_schema").count(), 1, "{statement}");
        }
    }

    #[test]
    fn what_only_lists_opened_tablespaces_is_never_asked() {
        for statement in [ROOTLESS, TABLES] {
            assert!(!statement.contains("SYS_TABLESPACES"), "{statement}");
        }
    }

    #[test]
    fn mariadbs_tables_are_their_files_unless_they_have_no_root() {
        let table = |number: &str| of_table(&set(&["21"]), number, "7".to_owned(), "app/t#P#p0");
        let whole = Tablespace { id: "7".to_owned(), path: "app/t#P#p0.ibd".to_owned(), is_undo: false };
        assert_eq!([table("20"), table("21")], [Some(whole), None]);
    }

    #[test]
    fn files_of_discarded_tablespaces_are_none_and_undo_logs_are_told_apart() {
        let file = |id: &str| of_file(&set(&["8"]), &set(&["9"]), id.to_owned(), "./x".to_owned());
        assert_eq!(file("7").map(|found| found.is_undo), Some(false));
        assert_eq!(file("9").map(|found| found.is_undo), Some(true));
        assert_eq!(file("8"), None);
    }
}

//! Opens every table of a server one by one, so that the table that kills the server is known.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tracing::debug;

use super::marks;
use super::patience::{self, Sizes, TIME_TO_OPEN};
use super::statements::{self, Asked};
use super::verdict::{Verdict, verdict_of};
use crate::model::event::warn;
use crate::model::exit::Reason;
use crate::server::Server;
use crate::server::opening::Table;
use crate::server::scratch::{End, ScratchServer, TIME_TO_DIE};

/// Limit for a list: MySQL 5.7 reads a definition for each table in it.
const TIME_TO_LIST: Duration = Duration::from_secs(600);

/// Schemas of MariaDB's own, whose tables are Aria's.
const OWN_SCHEMAS: [&str; 2] = ["mysql", "sys"];

/// Endings of files of engines that every server has.
const BUILT_IN: [&str; 5] = ["ibd", "MAD", "MYD", "CSV", "MRG"];

/// Counts of the opened tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    pub tables: u64,
    /// Tables that the donor's server could not read either, or whose engine is missing here.
    pub not_readable: u64,
}

/// Why opening all tables failed.
pub enum Trouble {
    Damaged {
        table: String,
        why: String,
    },
    Died {
        last: String,
        how: String,
    },
    Hung {
        last: String,
        limit: Duration,
    },
    /// The server failed to list its tables.
    Unlisted(anyhow::Error),
}

impl Trouble {
    /// Describes the trouble, with the server's end if it has ended.
    pub async fn told(self, server: ScratchServer) -> anyhow::Error {
        let by_copy = |text: String| Reason::Rehearsal.error(text);
        let died = |at: &str, end: End| match end.reason {
            Reason::Rehearsal => by_copy(format!("the server died of the copy at {at}: {}", end.words)),
            other => other.error(format!("the server died at {at}: {}", end.words)),
        };
        match self {
            Trouble::Damaged { table, why } => by_copy(format!(
                "cannot open the copy's table {table} ({why}). If the donor's server cannot read it either, repair or \
                 drop it there, or pass --rehearsal off"
            )),
            Trouble::Died { last, how } => match server.end_within(TIME_TO_DIE).await {
                Some(end) => died(&last, end),
                None => by_copy(format!("the server died of the copy at {last}: {how}")),
            },
            Trouble::Hung { last, limit } => by_copy(format!(
                "the server was killed because it left {last} unanswered for {} seconds",
                limit.as_secs()
            )),
            Trouble::Unlisted(error) => match server.end_within(TIME_TO_DIE).await {
                Some(end) => died("the list of its tables", end),
                None => by_copy(format!("the server cannot list the copy's tables: {error:#}")),
            },
        }
    }
}

/// Opens all tables. `data_dir` is the server's own, a shadow of the `copy`.
pub async fn open_all(scratch: &mut ScratchServer, data_dir: &Path, copy: &Path) -> Result<Opened, Trouble> {
    let server = &mut scratch.server;
    let dialect = server.dialect;
    let list = Listing::of(server, data_dir).await.map_err(Trouble::Unlisted)?;
    let check_limit = patience::time_to_read(list.largest_index);
    let (mut opened, mut dictionary) = (Opened::default(), Dictionary::default());
    for schema in &list.schemas {
        let engines = list.needs_engines(schema);
        let tables = server.tables(schema, engines, TIME_TO_LIST).await.map_err(Trouble::Unlisted)?;
        for table in tables {
            let verdict = match statements::of(dialect, &table) {
                Asked::Nothing => Verdict::NotReadable("its rows are outside the data directory"),
                Asked::Open(statement) => {
                    let limit = list.time_to_open(server, &table).await;
                    ended(verdict_of(server.ask(&statement, limit).await), statement, limit)?
                }
                Asked::Check(statement) => {
                    let verdict = verdict_of(server.check(&statement, check_limit).await);
                    ended(verdict, statement, check_limit)?
                }
            };
            opened.tables += 1;
            if let Some(why) = why_not_readable(server, &table, verdict, copy, &mut dictionary).await? {
                opened.not_readable += 1;
                warn!(
                    RehearsalNotReadable,
                    table = table.quoted(),
                    "cannot read a table here, but the copy is not at fault: {why}"
                );
            }
        }
    }
    debug!(?opened, "opened every table");
    Ok(opened)
}

/// Passes a verdict on if the server survived it.
fn ended(verdict: Verdict, last: String, limit: Duration) -> Result<Verdict, Trouble> {
    match verdict {
        Verdict::Died(how) => Err(Trouble::Died { last, how }),
        Verdict::Hung => Err(Trouble::Hung { last, limit }),
        verdict => Ok(verdict),
    }
}

async fn why_not_readable(
    server: &mut Server,
    table: &Table,
    verdict: Verdict,
    copy: &Path,
    dictionary: &mut Dictionary,
) -> Result<Option<&'static str>, Trouble> {
    let damaged = |why| Err(Trouble::Damaged { table: table.quoted(), why });
    // The server may have ended meanwhile.
    let untold = |error: anyhow::Error, words: String, what: &str| {
        Err(Trouble::Unlisted(error.context(format!("cannot read {what}, after {} gave {words}", table.quoted()))))
    };
    match verdict {
        Verdict::Whole => Ok(None),
        Verdict::NotReadable(why) => Ok(Some(why)),
        Verdict::UnknownToInnodb(words) => match dictionary.has(server, table).await {
            Ok(false) => Ok(Some("a definition without a table: InnoDB's dictionary lacks it")),
            Ok(true) => damaged(words),
            Err(error) => untold(error, words, "InnoDB's dictionary"),
        },
        Verdict::UnknownEngine(words) => match server.file_name(table, TIME_TO_LIST).await {
            Ok(name) => match data_beside(copy, &name) {
                Some(file) => {
                    damaged(format!("{words}; {file} beside its definition belongs to an engine that is loaded"))
                }
                None => Ok(Some("a table of an engine that is not loaded")),
            },
            Err(error) => untold(error, words, "the names of its files"),
        },
        Verdict::MarkedAsCrashed(words) => match server.file_name(table, TIME_TO_LIST).await {
            Ok(name) if marks::is_marked(copy, &name) => Ok(Some("it was marked as crashed by the donor's server")),
            Ok(_) => damaged(format!("{words}; the copy's index file lacks this mark")),
            Err(error) => untold(error, words, "the names of its files"),
        },
        Verdict::Damaged(why) | Verdict::Died(why) => damaged(why),
        Verdict::Hung => damaged("no answer".to_owned()),
    }
}

/// The names in InnoDB's dictionary, read at most once.
#[derive(Default)]
struct Dictionary {
    names: Option<BTreeSet<Vec<u8>>>,
}

impl Dictionary {
    /// Whether the dictionary has a table or a partition of it. A damaged list of partitions may name some that never
    /// existed.
    async fn has(&mut self, server: &mut Server, table: &Table) -> Result<bool> {
        let name = server.file_name(table, TIME_TO_LIST).await?;
        let names = match self.names.take() {
            Some(names) => names,
            None => server.innodb_names(TIME_TO_LIST).await?.into_iter().collect(),
        };
        let found = has_table(&names, &name);
        self.names = Some(names);
        Ok(found)
    }
}

/// A partition's name has `#P#` after the table's, or `#p#` on servers with lower-case names.
fn has_table(names: &BTreeSet<Vec<u8>>, table: &[u8]) -> bool {
    let partitions = [table, b"#"].concat();
    names.contains(table) || names.range(partitions.clone()..).next().is_some_and(|name| name.starts_with(&partitions))
}

/// A file of a table with this name, if its engine is one that every server has.
fn data_beside(data_dir: &Path, name: &[u8]) -> Option<String> {
    let table = data_dir.join(OsStr::from_bytes(name));
    let whole = BUILT_IN.iter().map(|end| table.with_added_extension(end)).find(|file| file.exists());
    let file = whole.or_else(|| table.with_added_extension("par").exists().then(|| a_partition(&table)).flatten())?;
    Some(file.strip_prefix(data_dir).unwrap_or(&file).display().to_string())
}

/// The data file of one of a table's partitions, if its engine is one that every server has.
fn a_partition(table: &Path) -> Option<PathBuf> {
    let start = [table.file_name()?.as_bytes(), b"#"].concat();
    let is_one = |file: &PathBuf| {
        let (name, end) = (file.file_name().unwrap_or_default(), file.extension().unwrap_or_default());
        name.as_bytes().starts_with(&start) && BUILT_IN.iter().any(|built_in| end == *built_in)
    };
    std::fs::read_dir(table.parent()?).ok()?.flatten().map(|entry| entry.path()).find(is_one)
}

/// The schemas to open, with the facts that decide on statements and limits.
struct Listing {
    schemas: Vec<String>,
    all_engines: bool,
    largest_index: u64,
    /// Set if large tables take longer to open.
    large: Option<Sizes>,
}

impl Listing {
    async fn of(server: &mut Server, data_dir: &Path) -> Result<Listing> {
        let schemas = server.schemas(TIME_TO_LIST).await.context("cannot list the schemas")?;
        let engines = server.engines(TIME_TO_LIST).await.context("cannot list the engines")?;
        let foreign: BTreeSet<&String> = engines.iter().filter(|engine| statements::is_foreign(engine)).collect();
        let is_cheap = server.dialect.has_engines_in_dictionary();
        let files = statements::checked_files(data_dir);
        let all_engines = is_cheap || !foreign.is_empty() || files.of_users;
        let reads_rows = server.dialect.rows_to_open_a_file() > 0;
        let large = reads_rows.then(|| Sizes::of(data_dir)).filter(|sizes| !sizes.are_small());
        Ok(Listing { schemas, all_engines, largest_index: files.largest_index, large })
    }

    /// Limit for opening a table. If the server cannot name the table's files, the shortest one applies.
    async fn time_to_open(&self, server: &mut Server, table: &Table) -> Duration {
        let Some(sizes) = &self.large else { return TIME_TO_OPEN };
        let name = server.file_name(table, TIME_TO_OPEN).await;
        name.map_or(TIME_TO_OPEN, |name| sizes.time_to_open(&name))
    }

    fn needs_engines(&self, schema: &str) -> bool {
        self.all_engines || OWN_SCHEMAS.contains(&schema)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_belongs_to_its_table() {
        let names = ["app/a", "app/p#P#low", "app/q#p#low#sp#s", "app/zz"].map(|name| name.as_bytes().to_vec()).into();
        for (table, is_there) in [("app/a", true), ("app/p", true), ("app/q", true), ("app/z", false), ("b", false)] {
            assert_eq!(has_table(&names, table.as_bytes()), is_there, "{table}");
        }
    }

    #[test]
    fn files_beside_a_definition_tell_its_engine() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("app")).unwrap();
        let files =
            ["a.frm", "a.ibd", "a.b.MAD", "c.frm", "c.rdb", "p.frm", "p.par", "p#P#low.MAI", "p#P#low.MAD", "q.par"];
        for name in files {
            std::fs::write(directory.path().join("app").join(name), "").unwrap();
        }
        let beside = |name: &str| data_beside(directory.path(), name.as_bytes());
        assert_eq!(beside("app/a").as_deref(), Some("app/a.ibd"));
        assert_eq!(beside("app/p").as_deref(), Some("app/p#P#low.MAD"));
        assert_eq!([beside("app/c"), beside("app/b"), beside("app/q")], [None, None, None]);
    }
}

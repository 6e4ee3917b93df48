//! Opens every table of a server, one after the other, so that the one that it dies of is known.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use tracing::{debug, warn};

use super::statements::{self, Asked};
use super::verdict::{Verdict, judge};
use crate::exit::Reason;
use crate::mysql::Server;
use crate::mysql::opening::Table;
use crate::own_server::OwnServer;

/// How long a list may take: MySQL 5.7 reads a definition for each table in it.
const TIME_TO_LIST: Duration = Duration::from_secs(600);

/// How long a table may take to be opened. A healthy one takes a millisecond; a node that is short of disk is slow.
const TIME_TO_OPEN: Duration = Duration::from_secs(60);

/// The slowest check of a table's index, in bytes a second.
const CHECKED_PER_SECOND: u64 = 4 << 20;

/// Schemas of MariaDB's own, whose tables are Aria's.
const OWN_SCHEMAS: [&str; 2] = ["mysql", "sys"];

/// How long a process may take to die once its connection has broken.
const TIME_TO_DIE: Duration = Duration::from_secs(10);

/// What was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    pub tables: u64,
    /// Tables that the donor's server could not read either, or that are of an engine that is not here.
    pub not_readable: u64,
}

/// Why not all could be.
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
    /// The server does not list its tables.
    Unlisted(anyhow::Error),
}

impl Trouble {
    /// In words, with the server's end where it has come to one.
    pub async fn told(self, server: OwnServer) -> anyhow::Error {
        let text = match self {
            Trouble::Damaged { table, why } => format!(
                "the copy's table {table} can't be opened ({why}). If the donor's server can't read it either, repair or \
                 drop it there, or say --rehearsal off"
            ),
            Trouble::Died { last, how } => {
                let end = server.end_within(TIME_TO_DIE).await;
                format!("the server died of the copy at {last}: {}", end.unwrap_or(how))
            }
            Trouble::Hung { last, limit } => {
                format!("the server gave no answer to {last} within {} seconds, and was killed", limit.as_secs())
            }
            Trouble::Unlisted(error) => match server.end_within(TIME_TO_DIE).await {
                Some(end) => format!("the server died of the copy when it listed the tables: {end}"),
                None => format!("the server does not list the copy's tables: {error:#}"),
            },
        };
        Reason::Rehearsal.error(text)
    }
}

/// Opens all.
pub async fn open_all(own_server: &mut OwnServer, data_dir: &Path) -> Result<Opened, Trouble> {
    let server = &mut own_server.server;
    let dialect = server.dialect;
    let list = Listing::of(server, data_dir).await.map_err(Trouble::Unlisted)?;
    let check_limit = TIME_TO_OPEN + Duration::from_secs(list.largest_index / CHECKED_PER_SECOND);
    let mut opened = Opened::default();
    for schema in &list.schemas {
        let engines = list.needs_engines(schema);
        let tables = server.tables(schema, engines, TIME_TO_LIST).await.map_err(Trouble::Unlisted)?;
        for table in tables {
            let verdict = match statements::of(dialect, &table) {
                Asked::Nothing => Verdict::NotReadable("its rows are not in the data directory"),
                Asked::Open(statement) => {
                    let verdict = judge(server.ask(&statement, TIME_TO_OPEN).await);
                    ended(verdict, statement, TIME_TO_OPEN)?
                }
                Asked::Check(statement) => {
                    let verdict = judge(server.check(&statement, check_limit).await);
                    ended(verdict, statement, check_limit)?
                }
            };
            opened.tables += 1;
            if let Some(why) = why_not_readable(server, &table, verdict).await? {
                opened.not_readable += 1;
                warn!(table = table.quoted(), "a table can't be read here, which is nothing against the copy: {why}");
            }
        }
    }
    debug!(?opened, "every table was opened");
    Ok(opened)
}

/// A verdict after which the server goes on.
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
) -> Result<Option<&'static str>, Trouble> {
    let damaged = |why| Err(Trouble::Damaged { table: table.quoted(), why });
    match verdict {
        Verdict::Whole => Ok(None),
        Verdict::NotReadable(why) => Ok(Some(why)),
        Verdict::UnknownToInnodb(words) => match server.innodb_knows(table, TIME_TO_LIST).await {
            Ok(false) => Ok(Some("a definition without a table: InnoDB's dictionary does not have it")),
            Ok(true) => damaged(words),
            Err(error) => damaged(format!("{words}; InnoDB's dictionary can't be read: {error:#}")),
        },
        Verdict::Damaged(why) | Verdict::Died(why) => damaged(why),
        Verdict::Hung => damaged("no answer".to_owned()),
    }
}

/// What is to be opened, and what has to be known of it.
struct Listing {
    schemas: Vec<String>,
    all_engines: bool,
    largest_index: u64,
}

impl Listing {
    async fn of(server: &mut Server, data_dir: &Path) -> Result<Listing> {
        let schemas = server.schemas(TIME_TO_LIST).await.context("listing the schemas")?;
        let engines = server.engines(TIME_TO_LIST).await.context("listing the engines")?;
        let foreign: BTreeSet<&String> = engines.iter().filter(|engine| statements::is_foreign(engine)).collect();
        let is_cheap = server.dialect.has_engines_in_dictionary();
        let files = statements::checked_files(data_dir);
        let all_engines = is_cheap || !foreign.is_empty() || files.of_users;
        Ok(Listing { schemas, all_engines, largest_index: files.largest_index })
    }

    fn needs_engines(&self, schema: &str) -> bool {
        self.all_engines || OWN_SCHEMAS.contains(&schema)
    }
}

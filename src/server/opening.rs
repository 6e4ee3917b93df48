//! Tables of a server: which there are, and whether they can be opened. Names here are the server's own, not files'.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::timeout;

use super::access_denied::innermost;
use super::client::Error;
use super::connection::Server;
use super::literals::{identifier, literal};
use super::rows::{first_value, text};

/// A table as the server lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub schema: String,
    pub name: String,
    /// `None` where it was not asked for, or the server does not know it.
    pub engine: Option<String>,
}

impl Table {
    /// Its name as SQL has it.
    pub fn quoted(&self) -> String {
        format!("{}.{}", identifier(&self.schema), identifier(&self.name))
    }
}

/// What a server answers to a statement about a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was done.
    Done,
    /// `CHECK TABLE` was done, and has this to say: kinds and texts.
    Checked(Vec<(String, String)>),
    /// An error of the server's, by number.
    Error { code: u16, text: String },
    /// Nothing came in time.
    Silence,
    /// The connection broke: the server died.
    Gone(String),
}

/// Kinds of what is listed that hold no rows of their own.
const WITHOUT_ROWS: [&str; 3] = ["VIEW", "SYSTEM VIEW", "TEMPORARY"];

impl Server {
    /// The schemas that hold tables in files.
    pub async fn schemas(&mut self, limit: Duration) -> Result<Vec<String>> {
        let query = "SELECT schema_name FROM information_schema.schemata \
                     WHERE schema_name NOT IN ('information_schema', 'performance_schema')";
        self.listed(query, limit).await
    }

    /// The engines that run.
    pub async fn engines(&mut self, limit: Duration) -> Result<Vec<String>> {
        self.listed("SELECT engine FROM information_schema.engines WHERE support IN ('YES', 'DEFAULT')", limit).await
    }

    async fn listed(&mut self, query: &str, limit: Duration) -> Result<Vec<String>> {
        let rows = timeout(limit, self.connection.ask(query)).await.context("no answer in time")?;
        let table = rows.map_err(innermost).with_context(|| query.to_owned())?;
        Ok(table.rows.into_iter().filter_map(first_value).collect())
    }

    /// The tables of a schema, but for views. With `engines` MariaDB reads the definition of each, which takes ten times as
    /// long: 20,000 names took 0.08 s, with their engines 0.6 to 1.8 s. (10.11)
    pub async fn tables(&mut self, schema: &str, engines: bool, limit: Duration) -> Result<Vec<Table>> {
        let engine = if engines { "engine" } else { "NULL" };
        let query = format!(
            "SELECT table_name, table_type, {engine} FROM information_schema.tables WHERE table_schema = {}",
            literal(schema)
        );
        let rows = timeout(limit, self.connection.ask(&query)).await.context("no answer in time")?;
        let rows = rows.map_err(innermost).with_context(|| query.clone())?.rows.into_iter();
        let has_rows = |kind: &Option<String>| kind.as_deref().is_none_or(|kind| !WITHOUT_ROWS.contains(&kind));
        let mut tables = Vec::new();
        for row in rows {
            let mut values = row.into_iter().map(text);
            let mut value = || values.next().flatten();
            let (name, kind, engine) = (value(), value(), value());
            // A table without a name would be one that nobody looks at.
            let name = name.with_context(|| format!("{query}: a table without a name"))?;
            if has_rows(&kind) {
                tables.push(Table { schema: schema.to_owned(), name, engine });
            }
        }
        Ok(tables)
    }

    /// What the files of a table are called, without their ends: `app/a@002db`.
    pub async fn file_name(&mut self, table: &Table, limit: Duration) -> Result<Vec<u8>> {
        let hex = |text: &str| format!("HEX(CONVERT({} USING filename))", literal(text));
        let query = format!("SELECT CONCAT({}, '2F', {})", hex(&table.schema), hex(&table.name));
        let names = self.listed(&query, limit).await?;
        names.first().and_then(|name| bytes_of_hex(name)).with_context(|| format!("{query}: {names:?}"))
    }

    /// What InnoDB's dictionary calls its tables, a partition being one: `app/t#P#p0`. (MariaDB, and MySQL before 8.0.)
    pub async fn innodb_names(&mut self, limit: Duration) -> Result<Vec<Vec<u8>>> {
        let names = self.listed("SELECT HEX(name) FROM information_schema.innodb_sys_tables", limit).await?;
        Ok(names.iter().filter_map(|name| bytes_of_hex(name)).collect())
    }

    /// Says a statement about a table, and takes whatever comes.
    pub async fn ask(&mut self, statement: &str, limit: Duration) -> Answer {
        match timeout(limit, self.connection.run(statement)).await {
            Err(_) => Answer::Silence,
            Ok(answer) => answer.map_or_else(answer_of, |()| Answer::Done),
        }
    }

    /// Has a table checked.
    pub async fn check(&mut self, statement: &str, limit: Duration) -> Answer {
        match timeout(limit, self.connection.ask(statement)).await {
            Err(_) => Answer::Silence,
            Ok(Err(error)) => answer_of(error),
            // After the table and the operation.
            Ok(Ok(table)) => Answer::Checked(
                table
                    .rows
                    .into_iter()
                    .map(|row| {
                        let mut values = row.into_iter().skip(2).map(|value| text(value).unwrap_or_default());
                        (values.next().unwrap_or_default(), values.next().unwrap_or_default())
                    })
                    .collect(),
            ),
        }
    }
}

/// `HEX()` undone.
fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    text.as_bytes().chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()).collect()
}

fn answer_of(error: Error) -> Answer {
    match error {
        Error::Server(error) => Answer::Error { code: error.code, text: error.message },
        other => Answer::Gone(innermost(other).to_string()),
    }
}

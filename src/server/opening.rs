//! Lists a server's tables, and tests whether they can be opened. Names here are SQL names, as opposed to file names.

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
    /// `None` where it was left out of the query, or is unknown to the server.
    pub engine: Option<String>,
}

impl Table {
    /// Its quoted SQL name.
    pub fn quoted(&self) -> String {
        format!("{}.{}", identifier(&self.schema), identifier(&self.name))
    }
}

/// A server's answer to a statement about a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Success.
    Done,
    /// `CHECK TABLE` was done, with this result: kinds and texts.
    Checked(Vec<(String, String)>),
    /// An error from the server, with its number.
    Error { code: u16, text: String },
    /// The time limit passed.
    Silence,
    /// The connection broke: the server died.
    Gone(String),
}

/// Kinds of tables that hold no rows of their own.
const WITHOUT_ROWS: [&str; 3] = ["VIEW", "SYSTEM VIEW", "TEMPORARY"];

impl Server {
    /// The schemas that hold tables in files.
    pub async fn schemas(&mut self, limit: Duration) -> Result<Vec<String>> {
        let query = "SELECT schema_name FROM information_schema.schemata \
                     WHERE schema_name NOT IN ('information_schema', 'performance_schema')";
        self.listed(query, limit).await
    }

    /// The running engines.
    pub async fn engines(&mut self, limit: Duration) -> Result<Vec<String>> {
        self.listed("SELECT engine FROM information_schema.engines WHERE support IN ('YES', 'DEFAULT')", limit).await
    }

    async fn listed(&mut self, query: &str, limit: Duration) -> Result<Vec<String>> {
        let rows = timeout(limit, self.connection.ask(query)).await.context("no answer in time")?;
        let table = rows.map_err(innermost).with_context(|| query.to_owned())?;
        Ok(table.rows.into_iter().filter_map(first_value).collect())
    }

    /// The tables of a schema, except views. With `engines` MariaDB reads the definition of each, which takes ten times
    /// as long: 20,000 names took 0.08 s, with their engines 0.6 to 1.8 s. (10.11)
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
            // A nameless table would escape every check.
            let name = name.with_context(|| format!("{query}: a table without a name"))?;
            if has_rows(&kind) {
                tables.push(Table { schema: schema.to_owned(), name, engine });
            }
        }
        Ok(tables)
    }

    /// The base name of a table's files: `app/a@002db`.
    pub async fn file_name(&mut self, table: &Table, limit: Duration) -> Result<Vec<u8>> {
        let hex = |text: &str| format!("HEX(CONVERT({} USING filename))", literal(text));
        let query = format!("SELECT CONCAT({}, '2F', {})", hex(&table.schema), hex(&table.name));
        let names = self.listed(&query, limit).await?;
        names.first().and_then(|name| bytes_of_hex(name)).with_context(|| format!("{query}: {names:?}"))
    }

    /// InnoDB's names for its tables, each partition being one: `app/t#P#p0`. (MariaDB, and MySQL before 8.0.)
    pub async fn innodb_names(&mut self, limit: Duration) -> Result<Vec<Vec<u8>>> {
        let names = self.listed("SELECT HEX(name) FROM information_schema.innodb_sys_tables", limit).await?;
        Ok(names.iter().filter_map(|name| bytes_of_hex(name)).collect())
    }

    /// Runs a statement about a table, and returns any answer.
    pub async fn ask(&mut self, statement: &str, limit: Duration) -> Answer {
        match timeout(limit, self.connection.run(statement)).await {
            Err(_) => Answer::Silence,
            Ok(answer) => answer.map_or_else(answer_of, |()| Answer::Done),
        }
    }

    /// Checks a table.
    pub async fn check(&mut self, statement: &str, limit: Duration) -> Answer {
        match timeout(limit, self.connection.ask(statement)).await {
            Err(_) => Answer::Silence,
            Ok(Err(error)) => answer_of(error),
            // Skips the columns of the table and the operation.
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

/// Decodes `HEX()`.
fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    text.as_bytes().chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()).collect()
}

fn answer_of(error: Error) -> Answer {
    match error {
        Error::Server(error) => Answer::Error { code: error.code, text: error.message },
        other => Answer::Gone(innermost(other).to_string()),
    }
}

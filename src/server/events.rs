//! Events of the event scheduler in a copy, as replication would have them: on a replica the primary's events are there and
//! don't run.
//!
//! For a server that nobody else uses: it writes no binary log, and its scheduler is off. MariaDB, and MySQL before 8.0,
//! keep events in an ordinary table. From 8.0 on they are in MySQL's dictionary, which `ALTER EVENT` alone changes: under
//! the event's own `sql_mode`, time zone, character sets and definer, and with the server id of who made it, for all of
//! these are taken from the session and stored anew. (Seen with 9.7: `--skip-grant-tables` lets `ALTER EVENT` through.)

use anyhow::{Context, Result};

use super::dialect::{Dialect, Statement};
use super::{NamedRow, Server, identifier, literal};
use crate::model::exit::Reason;

/// MySQL's and MariaDB's word for an event that replication disabled, and MySQL's since 8.4.
const BY_REPLICATION: &str = "'SLAVESIDE_DISABLED', 'REPLICA_SIDE_DISABLED'";

/// What becomes of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Those that are enabled become as replication has them.
    Disable,
    /// Those that replication disabled are enabled.
    Enable,
}

impl Change {
    /// The statuses that it concerns, as a list of literals.
    fn from(self) -> &'static str {
        match self {
            Change::Disable => "'ENABLED'",
            Change::Enable => BY_REPLICATION,
        }
    }

    /// The rows of an ordinary table that it concerns.
    fn rows(self) -> String {
        format!("WHERE status IN ({})", self.from())
    }

    fn in_table(self) -> &'static str {
        match self {
            Change::Disable => "'SLAVESIDE_DISABLED'",
            Change::Enable => "'ENABLED'",
        }
    }

    fn in_words(self, version: (u16, u16, u16)) -> &'static str {
        match self {
            Change::Disable if version >= (8, 4, 0) => "DISABLE ON REPLICA",
            Change::Disable => "DISABLE ON SLAVE",
            Change::Enable => "ENABLE",
        }
    }
}

/// An event, in a form for people and for statements.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Event {
    schema: String,
    name: String,
    /// `user@host`.
    definer: String,
    sql_mode: String,
    time_zone: String,
    /// Of the client that made it, by which its body is read.
    charset: String,
    collation: String,
    originator: u64,
}

/// The names of all events that it concerns.
pub async fn concerned(server: &mut Server, change: Change) -> Result<Vec<String>> {
    match server.dialect {
        Dialect::Mysql { version: (8.., _, _) } => {
            Ok(in_dictionary(server, change).await?.iter().map(Event::title).collect())
        }
        _ => in_table(server, change).await,
    }
}

/// Changes them.
pub async fn change(server: &mut Server, change: Change) -> Result<()> {
    let Dialect::Mysql { version: version @ (8.., _, _) } = server.dialect else {
        return change_in_table(server, change).await;
    };
    let events = in_dictionary(server, change).await?;
    for event in &events {
        if !event.can_be_named() {
            return Err(Reason::Refused.error(format!(
                "the event {} was made by a client with the character set {}, in which its name can't be said here: \
                 rename it on the primary (ALTER EVENT … RENAME TO …)",
                event.title(),
                event.charset
            )));
        }
        for statement in event.altered(change, version) {
            server.execute(&statement).await.with_context(|| format!("the event {}", event.title()))?;
        }
    }
    server.execute(&Statement::new("SET NAMES utf8mb4", "SET NAMES")).await?;
    for setting in server.dialect.session_settings() {
        server.execute(&setting).await?;
    }
    Ok(())
}

/// `created` would take the time of the change.
async fn change_in_table(server: &mut Server, change: Change) -> Result<()> {
    let (status, which) = (change.in_table(), change.rows());
    let text = format!("UPDATE mysql.event SET status = {status}, created = created {which}");
    server.execute(&Statement::new(text, "UPDATE mysql.event")).await?;
    // Aria's and MyISAM's pages are written when a table is closed.
    server.execute(&Statement::new("FLUSH TABLES mysql.event", "FLUSH TABLES")).await
}

async fn in_table(server: &mut Server, change: Change) -> Result<Vec<String>> {
    let which = change.rows();
    server.column(&format!("SELECT CONCAT(db, '.', name) FROM mysql.event {which} ORDER BY 1")).await
}

async fn in_dictionary(server: &mut Server, change: Change) -> Result<Vec<Event>> {
    server.rows(&of_dictionary(change)).await?.iter().map(Event::from_row).collect()
}

fn of_dictionary(change: Change) -> String {
    format!(
        "SELECT EVENT_SCHEMA, EVENT_NAME, DEFINER, SQL_MODE, TIME_ZONE, CHARACTER_SET_CLIENT, COLLATION_CONNECTION, \
         ORIGINATOR FROM information_schema.EVENTS WHERE STATUS IN ({}) ORDER BY EVENT_SCHEMA, EVENT_NAME",
        change.from()
    )
}

impl Event {
    fn from_row(row: &NamedRow) -> Result<Event> {
        let text = |name: &str| {
            row.get(name).cloned().flatten().with_context(|| format!("information_schema.EVENTS has no {name}"))
        };
        Ok(Event {
            schema: text("EVENT_SCHEMA")?,
            name: text("EVENT_NAME")?,
            definer: text("DEFINER")?,
            sql_mode: text("SQL_MODE")?,
            time_zone: text("TIME_ZONE")?,
            charset: text("CHARACTER_SET_CLIENT")?,
            collation: text("COLLATION_CONNECTION")?,
            originator: text("ORIGINATOR")?.parse().context("an event's ORIGINATOR")?,
        })
    }

    fn title(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// Whether a statement with its name means the same in its own character set. Ours come in UTF-8.
    fn can_be_named(&self) -> bool {
        let is_ascii = [&self.schema, &self.name, &self.definer].iter().all(|name| name.is_ascii());
        is_ascii || self.charset.starts_with("utf8")
    }

    /// The statement, behind what gives the session the event's own settings. Names are quoted by backticks, which mean
    /// the same in every mode.
    fn altered(&self, change: Change, version: (u16, u16, u16)) -> Vec<Statement> {
        let (user, host) = self.definer.rsplit_once('@').unwrap_or((&self.definer, "%"));
        let alter = format!(
            "ALTER DEFINER = {}@{} EVENT {}.{} {}",
            identifier(user),
            identifier(host),
            identifier(&self.schema),
            identifier(&self.name),
            change.in_words(version)
        );
        vec![
            Statement::new(format!("SET GLOBAL server_id = {}", self.originator), "SET GLOBAL server_id"),
            Statement::new(format!("SET SESSION time_zone = {}", literal(&self.time_zone)), "SET SESSION time_zone"),
            Statement::new(format!("SET SESSION sql_mode = {}", literal(&self.sql_mode)), "SET SESSION sql_mode"),
            Statement::new(
                format!(
                    "SET SESSION character_set_client = {}, collation_connection = {}",
                    literal(&self.charset),
                    literal(&self.collation)
                ),
                "SET SESSION character_set_client",
            ),
            Statement::new(alter, "ALTER EVENT"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_the_dictionary_keeps_what_the_session_would_give_it() {
        let row = [
            ("EVENT_SCHEMA", "a`b"),
            ("EVENT_NAME", "it's"),
            ("DEFINER", "us@er@10.%"),
            ("SQL_MODE", "ANSI_QUOTES,NO_BACKSLASH_ESCAPES"),
            ("TIME_ZONE", "+05:00"),
            ("CHARACTER_SET_CLIENT", "latin1"),
            ("COLLATION_CONNECTION", "latin1_swedish_ci"),
            ("ORIGINATOR", "100"),
        ];
        let row: NamedRow = row.iter().map(|(name, value)| (name.to_string(), Some(value.to_string()))).collect();
        let event = Event::from_row(&row).unwrap();
        let texts = |change, version| -> Vec<String> {
            event.altered(change, version).into_iter().map(|statement| statement.text().to_owned()).collect()
        };
        assert_eq!(
            texts(Change::Disable, (9, 7, 4)),
            [
                "SET GLOBAL server_id = 100",
                "SET SESSION time_zone = '+05:00'",
                "SET SESSION sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'",
                "SET SESSION character_set_client = 'latin1', collation_connection = 'latin1_swedish_ci'",
                "ALTER DEFINER = `us@er`@`10.%` EVENT `a``b`.`it's` DISABLE ON REPLICA",
            ]
        );
        assert!(texts(Change::Disable, (8, 0, 36))[4].ends_with("DISABLE ON SLAVE"));
        assert!(texts(Change::Enable, (8, 0, 36))[4].ends_with("`it's` ENABLE"));
        assert!(event.can_be_named());
        let named = |charset: &str| Event { name: "é".into(), charset: charset.into(), ..event.clone() };
        assert!(!named("latin1").can_be_named() && named("utf8mb3").can_be_named() && named("utf8mb4").can_be_named());
    }

    #[test]
    fn each_change_concerns_what_the_other_leaves() {
        assert!(of_dictionary(Change::Disable).contains("STATUS IN ('ENABLED')"));
        assert!(of_dictionary(Change::Enable).contains("STATUS IN ('SLAVESIDE_DISABLED', 'REPLICA_SIDE_DISABLED')"));
    }
}

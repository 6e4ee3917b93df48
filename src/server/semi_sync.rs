//! Semi-synchronous replication: statements of a source that has no replica to wait for.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::{sleep, timeout};

use super::access_denied::innermost;
use super::client::{self, Client, Error};
use super::connection::Server;
use super::dialect::Statement;
use super::reaching::CONNECT_LIMIT;
use super::trouble::code_of;

/// A statement that has no answer after so long is looked at.
const SOON: Duration = Duration::from_millis(200);

/// How the state of a session begins that waits for a replica to acknowledge what it wrote.
const SEMI_SYNC_WAIT: &str = "Waiting for semi-sync ACK";

/// ER_QUERY_INTERRUPTED.
const INTERRUPTED: u16 = 1317;

/// Semi-synchronous replication, of a server as a source.
struct SemiSync {
    is_on: bool,
    /// Replicas that acknowledge.
    replicas: Option<u64>,
    /// Sessions that wait for one.
    waiting: Option<u64>,
}

/// Whether a row of the list of sessions, whose first column is the number, is such a one.
fn waits_for_replicas(session: &client::Values, id: u32) -> bool {
    let is_it = session.first().and_then(Option::as_deref) == Some(id.to_string().as_bytes());
    is_it && session.iter().flatten().any(|value| value.starts_with(SEMI_SYNC_WAIT.as_bytes()))
}

/// Ends a session's waiting for replicas, whenever it is that, until it is stopped itself.
async fn end_semi_sync_waits(mut watcher: Client, id: u32) -> Result<(), Error> {
    loop {
        sleep(SOON).await;
        let sessions = watcher.ask("SHOW PROCESSLIST").await?;
        if sessions.rows.iter().any(|row| waits_for_replicas(row, id)) {
            watcher.run(&format!("KILL QUERY {id}")).await?;
        }
    }
}

/// A task that ends with whoever holds this.
struct Watching(tokio::task::JoinHandle<Result<(), Error>>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Server {
    /// The same for one that changes data. Where semi-synchronous replication has no replica to wait for, it is done and
    /// logged, and only its answer is held back: then the waiting is ended, and nothing else.
    pub async fn execute_without_replicas(&mut self, statement: &Statement) -> Result<()> {
        // Connected before: while MySQL waits in a statement about accounts it lets nobody in.
        let connecting = timeout(CONNECT_LIMIT, self.place.clone().connect()).await;
        let watcher = connecting.context("it does not answer")?.map_err(innermost)?;
        let watching = Watching(tokio::spawn(end_semi_sync_waits(watcher, self.connection.id)));
        let answer = self.execute(statement).await;
        drop(watching);
        match answer {
            Err(error) if code_of(&error) == Some(INTERRUPTED) => Ok(()),
            answer => answer,
        }
    }

    /// Whether each transaction waits for a replica to acknowledge it, and there is none.
    pub async fn lacks_acknowledging_replicas(&mut self) -> Result<bool> {
        let semi_sync = self.semi_sync().await?;
        Ok(semi_sync.is_on && semi_sync.replicas == Some(0))
    }

    /// Whether one waits so at this moment.
    pub async fn waits_for_missing_replicas(&mut self) -> Result<bool> {
        let semi_sync = self.semi_sync().await?;
        Ok(semi_sync.is_on && semi_sync.replicas == Some(0) && semi_sync.waiting.is_some_and(|count| count > 0))
    }

    async fn semi_sync(&mut self) -> Result<SemiSync> {
        let rows = self.rows("SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_%'").await?;
        let value = |names: [&str; 2]| {
            rows.iter().find_map(|row| {
                let text = |name: &str| row.get(name).cloned().flatten().unwrap_or_default();
                names.contains(&text("Variable_name").as_str()).then(|| text("Value"))
            })
        };
        let number = |names| value(names)?.parse().ok();
        Ok(SemiSync {
            is_on: value(["Rpl_semi_sync_source_status", "Rpl_semi_sync_master_status"]).as_deref() == Some("ON"),
            replicas: number(["Rpl_semi_sync_source_clients", "Rpl_semi_sync_master_clients"]),
            waiting: number(["Rpl_semi_sync_source_wait_sessions", "Rpl_semi_sync_master_wait_sessions"]),
        })
    }
}

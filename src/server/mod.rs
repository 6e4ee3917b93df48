//! SQL to a server of the family: connect, ask, tell. What the server understands is [`dialect`]'s.

pub mod account;
pub mod accounts;
pub mod aria;
mod client;
pub mod config_files;
pub mod dialect;
pub mod events;
#[cfg(test)]
mod fake;
pub mod history;
#[cfg(test)]
mod hostile;
pub mod inventory;
pub mod left_out;
mod literals;
pub mod opening;
pub mod plugin;
mod reaching;
pub mod refusal;
pub mod scratch;
pub mod status;
pub mod storage;
pub mod trouble;

use std::collections::HashMap;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::{sleep, timeout};
use tracing::debug;

use crate::model::event::{Event, warn};
use crate::model::host::HostPort;
use crate::server::account::Account;
use crate::sys::secret::Password;
pub use client::ServerError;
use client::{Address, Client, Error, Login, Table};
use dialect::{Dialect, Statement};
pub use literals::{identifier, literal, secret_literal};
use reaching::{first_that_answers, has_tcp, log_in};
use refusal::Refusal;
use status::ReplicationStatus;
use trouble::code_of;

/// The longest that a statement of ours may take. `CHANGE MASTER TO` on a loaded server is the slowest.
const STATEMENT_LIMIT: Duration = Duration::from_secs(30);

/// The longest that connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// A statement that has no answer after so long is looked at.
const SOON: Duration = Duration::from_millis(200);

/// How the state of a session begins that waits for a replica to acknowledge what it wrote.
const SEMI_SYNC_WAIT: &str = "Waiting for semi-sync ACK";

/// ER_QUERY_INTERRUPTED.
const INTERRUPTED: u16 = 1317;

/// ER_PARSE_ERROR.
const PARSE_ERROR: u16 = 1064;

/// A connection to a server whose flavour and version are known.
pub struct Server {
    connection: Client,
    place: Place,
    pub dialect: Dialect,
    pub version: String,
}

/// Semi-synchronous replication, of a server as a source.
struct SemiSync {
    is_on: bool,
    /// Replicas that acknowledge.
    replicas: Option<u64>,
    /// Sessions that wait for one.
    waiting: Option<u64>,
}

/// A result row by column names.
pub type NamedRow = HashMap<String, Option<String>>;

impl Server {
    /// Connects over TCP, or through the account's socket. The temporary servers that images' entrypoints start listen on
    /// theirs only: one that has no TCP counts as not there, whatever it answers.
    pub async fn connect(address: &HostPort, account: &Account) -> Result<Server> {
        let through = || match &account.socket {
            Some(socket) => format!("connecting to the server through {} as {:?}", socket.display(), account.user),
            None => format!("connecting to the server at {address} as {:?}", account.user),
        };
        let connection = match first_that_answers(address, account).await.with_context(through)? {
            Ok(connection) => connection,
            Err(error) if !is_answer(&error) => return Err(innermost(error)).with_context(through),
            // Whatever it answered: the image's first server knows no account of ours yet, and may answer anything.
            Err(_) if account.socket.is_some() && !has_tcp(address).await => return Err(temporary()),
            Err(error) => return Err(turned_away(error)).with_context(through),
        };
        let place = Place { address: address.clone(), account: account.clone() };
        let mut server = Server::on(connection, place);
        if account.socket.is_some() {
            match server.value("SELECT @@GLOBAL.skip_networking").await {
                Ok(Some(answer)) if answer == "0" => {}
                // One that lets us in and does not say so is judged by what it does.
                Err(error) if has_tcp(address).await => {
                    return Err(refused_at_first_statement(error)).with_context(through);
                }
                Ok(_) | Err(_) => {
                    server.close().await;
                    return Err(temporary());
                }
            }
        }
        server.known().await.map_err(refused_at_first_statement).with_context(through)
    }

    /// Connects to a server of our own, which listens on its socket only and asks nobody for a password.
    pub async fn connect_to_own(socket: &Path) -> Result<Server> {
        let login = Login { user: "root", password: "" };
        let connecting = timeout(CONNECT_LIMIT, Client::connect(Address::Socket(socket), &login)).await;
        let connection = connecting.context("it does not answer")?.map_err(innermost)?;
        let account = Account { user: "root".into(), password: Password::fixed(""), socket: Some(socket.to_owned()) };
        let address = HostPort { host: String::new(), port: 0 };
        Server::on(connection, Place { address, account }).known().await
    }

    fn on(connection: Client, place: Place) -> Server {
        let mut connection = connection;
        let again = place.clone();
        connection.on_giving_up = Some(Box::new(move |id| again.kill_soon(id)));
        Server { connection, place, dialect: Dialect::Mariadb, version: String::new() }
    }

    /// Asks it what it is.
    async fn known(self) -> Result<Server> {
        let mut server = self;
        server.version = server.value("SELECT VERSION()").await?.unwrap_or_default();
        server.dialect = Dialect::of(&server.version)?;
        for setting in server.dialect.session_settings() {
            server.execute(&setting).await?;
        }
        Ok(server)
    }

    /// Runs a statement. It may hold a password, so errors have its short form only; and a server that doesn't
    /// understand it quotes it.
    pub async fn execute(&mut self, statement: &Statement) -> Result<()> {
        let answer = timeout(STATEMENT_LIMIT, self.execute_at_length(statement)).await;
        answer.map_err(|_| self.given_up(statement.what))?
    }

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

    /// Has the server end what nobody waits for any more.
    fn given_up(&mut self, what: &str) -> anyhow::Error {
        self.connection.give_up();
        anyhow::Error::from(std::io::Error::from(std::io::ErrorKind::TimedOut))
            .context(format!("{what}: no answer in {} seconds", STATEMENT_LIMIT.as_secs()))
    }

    /// The same for one that may take as long as it likes.
    pub async fn execute_at_length(&mut self, statement: &Statement) -> Result<()> {
        if statement.holds_password {
            self.log_statements("OFF").await;
        }
        let answer = self.connection.run(statement.text()).await;
        if statement.holds_password {
            self.log_statements("DEFAULT").await;
        }
        answer
            .map_err(|error| match error {
                Error::Server(error) if error.code == PARSE_ERROR => {
                    anyhow::anyhow!("the server does not understand the statement (error {PARSE_ERROR})")
                }
                Error::Server(error) if statement.holds_password => {
                    let message = "what the server says is not shown, for the statement holds a password".to_owned();
                    ServerError { message, ..error }.into()
                }
                other => innermost(other),
            })
            .context(statement.what)
    }

    /// MariaDB writes passwords into its slow log and its general log, where these are on, as they are in the statement; MySQL
    /// leaves them out itself. An account without SUPER may keep its statements out of the first alone.
    async fn log_statements(&mut self, value: &str) {
        if self.dialect != Dialect::Mariadb {
            return;
        }
        for setting in ["slow_query_log", "sql_log_off"] {
            let value = if setting == "sql_log_off" && value == "OFF" { "ON" } else { value };
            if let Err(error) = self.connection.run(&format!("SET SESSION {setting} = {value}")).await {
                debug!("{setting} cannot be set: {error}");
            }
        }
    }

    /// Runs a query without secrets.
    pub async fn rows(&mut self, query: &str) -> Result<Vec<NamedRow>> {
        let table = self.query(query).await?;
        let named = |row: client::Values| table.columns.iter().cloned().zip(row.into_iter().map(text)).collect();
        Ok(table.rows.into_iter().map(named).collect())
    }

    /// The first column of all rows of a query without secrets.
    pub async fn column(&mut self, query: &str) -> Result<Vec<String>> {
        Ok(self.query(query).await?.rows.into_iter().filter_map(first_value).collect())
    }

    async fn query(&mut self, query: &str) -> Result<Table> {
        let answer = timeout(STATEMENT_LIMIT, self.connection.ask(query)).await;
        answer.map_err(|_| self.given_up(query))?.map_err(innermost).with_context(|| query.to_owned())
    }

    /// The first column of a query's first row; `None` for NULL and for no row.
    pub async fn value(&mut self, query: &str) -> Result<Option<String>> {
        Ok(self.query(query).await?.rows.into_iter().next().and_then(first_value))
    }

    /// Takes leave: a connection that is only dropped leaves a warning in the server's log.
    pub async fn close(self) {
        let _ = timeout(CONNECT_LIMIT, self.connection.quit()).await;
    }

    /// Has the server stop. It may be gone before it has answered.
    pub async fn shut_down(&mut self) -> Result<()> {
        match self.execute_at_length(&Statement::new("SHUTDOWN", "SHUTDOWN")).await {
            Err(error) if self.value("SELECT 1").await.is_ok() => Err(error),
            _ => Ok(()),
        }
    }

    /// Seconds since the server process started.
    pub async fn uptime(&mut self) -> Result<u64> {
        let rows = self.rows("SHOW GLOBAL STATUS LIKE 'Uptime'").await?;
        let uptime = rows.first().and_then(|row| row.get("Value")?.as_ref()?.parse().ok());
        uptime.context("the server does not say for how long it has run")
    }
}

/// Where a server is, and as whom.
#[derive(Clone)]
struct Place {
    address: HostPort,
    account: Account,
}

impl Place {
    /// Ends a connection on which a statement is left running: it may hold locks for as long as the server runs.
    fn kill_soon(self, id: u32) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            match timeout(CONNECT_LIMIT, self.kill(id)).await {
                Ok(Ok(())) => {
                    warn!(StatementKilled, session = id, "a statement that took too long was ended in the server")
                }
                Ok(Err(error)) => debug!("ending session {id}: {error}"),
                Err(_) => debug!("ending session {id}: no answer"),
            }
        });
    }

    /// Boxed: else the compiler cannot see that a task may hold it.
    fn connect(self) -> Pin<Box<dyn Future<Output = Result<Client, Error>> + Send>> {
        Box::pin(async move { log_in(&self.address, &self.account).await })
    }

    async fn kill(self, id: u32) -> Result<(), Error> {
        let mut client = self.connect().await?;
        client.run(&format!("KILL {id}")).await?;
        client.quit().await
    }
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

/// Whether an error is the server's word, and not the want of one.
fn is_answer(error: &Error) -> bool {
    !matches!(error, Error::Io(_))
}

/// MySQL asks an account that it does not know for a proof by any plugin, so that nobody learns which accounts exist. So a
/// plugin that the client does not have says as much as an access that is denied.
fn turned_away(error: Error) -> anyhow::Error {
    match error {
        Error::Server(error) => {
            let refusal = Refusal::of(error.code.into());
            let remedy = refusal.map(|refusal| format!(": {}", refusal.remedy())).unwrap_or_default();
            TurnedAway { text: format!("{error}{remedy}"), code: Some(error.code), refusal }.into()
        }
        Error::UnknownPlugin(_) => {
            TurnedAway { text: error.to_string(), code: None, refusal: Some(Refusal::Password) }.into()
        }
        Error::Io(_) | Error::Protocol(_) => innermost(error),
    }
}

/// MariaDB lets an account in whose password has expired, and refuses each of its statements. Both servers run
/// `init_connect` before the first one, and answer that one with its failure.
fn refused_at_first_statement(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<ServerError>() {
        Some(answered) => match Refusal::of(answered.code.into()) {
            Some(Refusal::Expired | Refusal::InitConnect) => turned_away(Error::Server(answered.clone())),
            _ => error,
        },
        None => error,
    }
}

/// The entrypoint's server of a first start or an upgrade.
fn temporary() -> anyhow::Error {
    Event::ServerTemporary.because("networking is disabled: this is the entrypoint's temporary server").into()
}

/// What a server says about replication; `None` where it has no source.
pub async fn replication_status(server: &mut Server) -> Result<Option<ReplicationStatus>> {
    let rows = server.rows(server.dialect.show_status()).await?;
    // MySQL lists named channels too, which are none of ours.
    let named = |row: &&NamedRow| row.get("Channel_Name").cloned().flatten().is_some_and(|name| !name.is_empty());
    Ok(rows.iter().find(|row| !named(row)).map(ReplicationStatus::from_row))
}

/// The server is there, and does not let us in.
#[derive(Debug)]
pub struct TurnedAway {
    text: String,
    /// The server's error number.
    pub code: Option<u16>,
    pub refusal: Option<Refusal>,
}

impl TurnedAway {
    /// For the account or its password, not for want of room.
    pub fn is_stranger(&self) -> bool {
        self.refusal == Some(Refusal::Password)
    }
}

impl std::fmt::Display for TurnedAway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for TurnedAway {}

/// An error by its cause.
fn innermost(error: Error) -> anyhow::Error {
    match error {
        Error::Server(error) => error.into(),
        Error::Io(error) => error.into(),
        other => other.into(),
    }
}

fn first_value(row: client::Values) -> Option<String> {
    row.into_iter().next().and_then(text)
}

fn text(value: Option<Vec<u8>>) -> Option<String> {
    value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::fake::Fake;
    use super::*;
    use crate::model::event::event_of;

    /// What MySQL and MariaDB may ask an account for that they do not know.
    const PLUGINS: [&str; 9] = [
        "mysql_native_password",
        "caching_sha2_password",
        "sha256_password",
        "authentication_ldap_sasl_client",
        "authentication_webauthn_client",
        "mysql_clear_password",
        "mysql_old_password",
        "dialog",
        "parsec",
    ];

    /// MySQL draws the plugin at random for each name.
    #[tokio::test]
    async fn a_server_without_tcp_is_the_entrypoints_whatever_it_answers() {
        for plugin in PLUGINS {
            let fake = Fake::start(&[fake::switch(plugin), fake::error(1045, "Access denied")]);
            let account =
                Account { user: "mysql".into(), password: Password::fixed(""), socket: Some(fake.socket.clone()) };
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = HostPort { host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() };
            let away = Server::connect(&address, &account).await.err().unwrap();
            assert!(away.downcast_ref::<TurnedAway>().is_some_and(TurnedAway::is_stranger), "{plugin}: {away:#}");
            drop(listener);
            let temporary = Server::connect(&address, &account).await.err().unwrap();
            assert_eq!(event_of(&temporary), Some(Event::ServerTemporary), "{plugin}: {temporary:#}");
            assert!(!temporary.is::<TurnedAway>(), "{plugin}");
        }
    }
}

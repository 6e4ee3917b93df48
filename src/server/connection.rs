//! A connection to a server whose flavour and version are known: ask and tell.

use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::timeout;
use tracing::debug;

use super::access_denied::{innermost, is_answer, refused_at_first_statement, temporary, turned_away};
use super::account::Account;
use super::client::{self, Address, Client, Error, Login, ServerError, Table};
use super::dialect::{Dialect, Statement};
use super::reaching::{CONNECT_LIMIT, first_that_answers, has_tcp, log_in};
use super::rows::{NamedRow, first_value, text};
use crate::model::event::warn;
use crate::model::host::HostPort;
use crate::sys::secret::Password;

/// The time limit of a statement. `CHANGE MASTER TO` on a loaded server is the slowest.
const STATEMENT_LIMIT: Duration = Duration::from_secs(30);

/// ER_PARSE_ERROR.
const PARSE_ERROR: u16 = 1064;

/// A connection to a server whose flavour and version are known.
pub struct Server {
    pub(super) connection: Client,
    pub(super) place: Place,
    pub dialect: Dialect,
    pub version: String,
}

impl Server {
    /// Connects over TCP, or through the account's socket. The temporary servers of images' entrypoints listen on the
    /// same socket only. So a server that lacks TCP counts as absent, regardless of its answer.
    pub async fn connect(address: &HostPort, account: &Account) -> Result<Server> {
        let through = || match &account.socket {
            Some(socket) => format!("connecting to the server through {} as {:?}", socket.display(), account.user),
            None => format!("connecting to the server at {address} as {:?}", account.user),
        };
        let connection = match first_that_answers(address, account).await.with_context(through)? {
            Ok(connection) => connection,
            Err(error) if !is_answer(&error) => return Err(innermost(error)).with_context(through),
            // The image's first server lacks our accounts and may answer anything.
            Err(_) if account.socket.is_some() && !has_tcp(address).await => return Err(temporary()),
            Err(error) => return Err(turned_away(error)).with_context(through),
        };
        let place = Place { address: address.clone(), account: account.clone() };
        let mut server = Server::on(connection, place);
        if account.socket.is_some() {
            match server.value("SELECT @@GLOBAL.skip_networking").await {
                Ok(Some(answer)) if answer == "0" => {}
                // A server that accepts the login but hides this value is judged by its TCP port.
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

    /// Connects to a private server of ours, which listens on its socket only and accepts an empty password.
    pub async fn connect_to_own(socket: &Path) -> Result<Server> {
        let login = Login { user: "root", password: "" };
        let connecting = timeout(CONNECT_LIMIT, Client::connect(Address::Socket(socket), &login)).await;
        let connection = connecting.context("no answer")?.map_err(innermost)?;
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

    /// Reads its version, and from it the dialect.
    async fn known(self) -> Result<Server> {
        let mut server = self;
        server.version = server.value("SELECT VERSION()").await?.unwrap_or_default();
        server.dialect = Dialect::of(&server.version)?;
        for setting in server.dialect.session_settings() {
            server.execute(&setting).await?;
        }
        Ok(server)
    }

    /// Runs a statement. Errors show its short form, since it may hold a password, and a server that fails to parse a
    /// statement quotes it.
    pub async fn execute(&mut self, statement: &Statement) -> Result<()> {
        let answer = timeout(STATEMENT_LIMIT, self.execute_at_length(statement)).await;
        answer.map_err(|_| self.given_up(statement.what))?
    }

    /// Ends the abandoned statement in the server.
    fn given_up(&mut self, what: &str) -> anyhow::Error {
        self.connection.give_up();
        anyhow::Error::from(std::io::Error::from(std::io::ErrorKind::TimedOut))
            .context(format!("{what}: no answer in {} seconds", STATEMENT_LIMIT.as_secs()))
    }

    /// The same, however long it takes.
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
                    anyhow::anyhow!("the server cannot parse the statement (error {PARSE_ERROR})")
                }
                Error::Server(error) if statement.holds_password => {
                    let message = "the server's message is hidden because the statement holds a password".to_owned();
                    ServerError { message, ..error }.into()
                }
                other => innermost(other),
            })
            .context(statement.what)
    }

    /// Keeps passwords out of MariaDB's slow log and general log, which show statements as they are; MySQL removes
    /// passwords itself. An account without SUPER can keep its statements out of the slow log only.
    async fn log_statements(&mut self, value: &str) {
        if self.dialect != Dialect::Mariadb {
            return;
        }
        for setting in ["slow_query_log", "sql_log_off"] {
            let value = if setting == "sql_log_off" && value == "OFF" { "ON" } else { value };
            if let Err(error) = self.connection.run(&format!("SET SESSION {setting} = {value}")).await {
                debug!("cannot set {setting}: {error}");
            }
        }
    }

    /// Runs a query that holds only public text.
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

    /// The first column of a query's first row; `None` for NULL and for an empty result.
    pub async fn value(&mut self, query: &str) -> Result<Option<String>> {
        Ok(self.query(query).await?.rows.into_iter().next().and_then(first_value))
    }

    /// Closes the session properly: a dropped connection leaves a warning in the server's log.
    pub async fn close(self) {
        let _ = timeout(CONNECT_LIMIT, self.connection.quit()).await;
    }

    /// Stops the server, which may end before it answers.
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
        uptime.context("the server does not report its uptime")
    }
}

/// Where a server is, and the account to use there.
#[derive(Clone)]
pub(super) struct Place {
    address: HostPort,
    account: Account,
}

impl Place {
    /// Ends a connection with a statement still running, which may hold locks for as long as the server runs.
    fn kill_soon(self, id: u32) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            match timeout(CONNECT_LIMIT, self.kill(id)).await {
                Ok(Ok(())) => {
                    warn!(StatementKilled, session = id, "ended a statement in the server that took too long")
                }
                Ok(Err(error)) => debug!("ending session {id}: {error}"),
                Err(_) => debug!("ending session {id}: no answer"),
            }
        });
    }

    /// Boxed, since the compiler otherwise fails to see that a task may hold it.
    pub(super) fn connect(self) -> Pin<Box<dyn Future<Output = Result<Client, Error>> + Send>> {
        Box::pin(async move { log_in(&self.address, &self.account).await })
    }

    async fn kill(self, id: u32) -> Result<(), Error> {
        let mut client = self.connect().await?;
        client.run(&format!("KILL {id}")).await?;
        client.quit().await
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::access_denied::TurnedAway;
    use super::super::fake::{self, Fake};
    use super::*;
    use crate::model::event::{Event, event_of};

    /// The plugins that MySQL and MariaDB may request from an unknown account.
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
    async fn a_server_without_tcp_is_the_entrypoints_for_any_answer() {
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

//! Reaches a server whose name may have several addresses, of which only some answer.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::client::{Address, Client, Error, Login};
use crate::model::host::HostPort;
use crate::server::account::Account;

/// The time limit for connecting.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// The time limit for connecting to one address where there are others.
const ONE_OF_SEVERAL: Duration = Duration::from_secs(2);

/// The most addresses of one name that are tried. A name server may return any number, and each may stay silent until
/// its time limit.
const MOST_ADDRESSES: usize = 4;

/// The time limit for a name server. A lost query costs five seconds.
const LOOKUP_LIMIT: Duration = Duration::from_secs(15);

/// Connects to the first address of a host that answers. A silent address or name server leaves the others their own
/// time.
pub async fn first_that_answers(address: &HostPort, account: &Account) -> Result<Result<Client, Error>> {
    let mut addresses = if account.socket.is_some() { vec![address.clone()] } else { look_up(address).await? };
    let last = addresses.pop().context("the name has no address")?;
    for one in addresses {
        match timeout(ONE_OF_SEVERAL, log_in(&one, account)).await {
            Err(_) | Ok(Err(Error::Io(_))) => {}
            Ok(answer) => return Ok(answer),
        }
    }
    timeout(CONNECT_LIMIT, log_in(&last, account)).await.context("no answer")
}

/// The distinct addresses of a host.
async fn look_up(address: &HostPort) -> Result<Vec<HostPort>> {
    if address.address().is_some() {
        return Ok(vec![address.clone()]);
    }
    let found = timeout(LOOKUP_LIMIT, lookup_host((address.host.as_str(), address.port))).await;
    let found = found.context("the name server does not answer")?;
    let found = found.with_context(|| format!("the name {} does not resolve", address.host))?;
    let mut addresses: Vec<HostPort> = Vec::new();
    for one in found.map(|one| HostPort { host: one.ip().to_string(), port: address.port }) {
        if addresses.len() < MOST_ADDRESSES && !addresses.contains(&one) {
            addresses.push(one);
        }
    }
    Ok(addresses)
}

/// Whether the address accepts TCP connections.
pub async fn has_tcp(address: &HostPort) -> bool {
    let connecting = TcpStream::connect((address.host.as_str(), address.port));
    matches!(timeout(CONNECT_LIMIT, connecting).await, Ok(Ok(_)))
}

/// Logs in at one address, or through the account's socket.
pub async fn log_in(address: &HostPort, account: &Account) -> Result<Client, Error> {
    let password = account.password.current();
    let login = Login { user: &account.user, password: password.reveal() };
    let address = match &account.socket {
        Some(socket) => Address::Socket(socket),
        None => Address::Tcp { host: &address.host, port: address.port },
    };
    Client::connect(address, &login).await
}

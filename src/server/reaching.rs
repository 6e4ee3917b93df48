//! The way to a server: its name may have several addresses, and not every one of them answers.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::client::{Address, Client, Error, Login};
use crate::model::host::HostPort;
use crate::server::account::Account;

/// The longest that connecting may take.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// The longest that connecting to one address may take where there are others.
const ONE_OF_SEVERAL: Duration = Duration::from_secs(2);

/// Of one name that are tried: a name server may make up any number, each of which is silent for as long as it may be.
const MOST_ADDRESSES: usize = 4;

/// The longest that a name server may take: five seconds are lost where it loses a question.
const LOOKUP_LIMIT: Duration = Duration::from_secs(15);

/// Connects to the first address of a host that answers. One that is silent doesn't take the time of those behind it, nor does a
/// name server.
pub async fn first_that_answers(address: &HostPort, account: &Account) -> Result<Result<Client, Error>> {
    let mut addresses = if account.socket.is_some() { vec![address.clone()] } else { look_up(address).await? };
    let last = addresses.pop().context("the name has no address")?;
    for one in addresses {
        match timeout(ONE_OF_SEVERAL, log_in(&one, account)).await {
            Err(_) | Ok(Err(Error::Io(_))) => {}
            Ok(answer) => return Ok(answer),
        }
    }
    timeout(CONNECT_LIMIT, log_in(&last, account)).await.context("it does not answer")
}

/// The addresses of a host, none of them twice.
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

/// Whether anybody listens there.
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

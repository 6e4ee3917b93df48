//! `mysqlset drain`: delays a server's stop until the running clone of it has ended.
//!
//! When a pod is deleted, its server and its sidecar are told to stop at the same moment. The sidecar lets a running
//! clone finish, but the clone needs its server. As the server's preStop hook, drain waits for that clone. It also
//! keeps the sidecar from starting another one, since the sidecar may get its signal later.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::outcome::Outcome;
use super::sidecar_client;
use crate::settings::Drain;

/// Between two questions.
const PERIOD: Duration = Duration::from_millis(250);

/// After this many refused connections in a row, the sidecar has ended, and its clone with it.
const ENOUGH: u32 = 2;

/// The sidecar answers at once; a silent one may still be serving a clone.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Runs the command.
pub async fn run(settings: &Drain) -> Result<Outcome> {
    let over = async {
        let mut gone = 0;
        while gone < ENOUGH {
            match timeout(ANSWER_LIMIT, ask(settings.sidecar)).await {
                Ok(Ok(status)) if status["donating"] == false => break,
                Ok(Err(error)) if is_nobody_there(&error) => gone += 1,
                _ => gone = 0,
            }
            sleep(PERIOD).await;
        }
    };
    Ok(match timeout(settings.limit, over).await {
        Ok(()) => Outcome::Done,
        Err(_) => Outcome::No(format!("a clone is still being served after {} seconds", settings.limit.as_secs())),
    })
}

/// Asks the sidecar to hold clones back. If that fails for any reason, asks at least whether it serves one.
async fn ask(sidecar: SocketAddr) -> Result<Value> {
    match sidecar_client::hold(sidecar).await {
        Err(_) => sidecar_client::status(sidecar).await,
        answer => answer,
    }
}

fn is_nobody_there(error: &anyhow::Error) -> bool {
    let refused = |cause: &io::Error| cause.kind() == ErrorKind::ConnectionRefused;
    error.chain().any(|cause| cause.downcast_ref().is_some_and(refused))
}

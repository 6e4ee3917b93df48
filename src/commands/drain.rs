//! `mysqlset drain`: keeps a server from being stopped while a clone of it is made.
//!
//! When a pod is deleted, its server and its sidecar are told to stop at the same moment; the sidecar lets a running clone
//! finish, which is of no use once the server is gone. As the server's preStop hook this waits for it, and has the sidecar
//! begin no other: it may not have been told to stop yet.

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

/// So often in a row nobody listened: the sidecar has ended, and its clone with it.
const ENOUGH: u32 = 2;

/// The sidecar answers at once; one that does not may serve a clone all the same.
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

/// Where the sidecar can't be told to begin no clone, by whatever user or way, it says at least whether it serves one.
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

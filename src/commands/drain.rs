//! `mysqlset drain`: keeps a server from being stopped while a clone of it is made.
//!
//! When a pod is deleted, its server and its sidecar are told to stop at the same moment; the sidecar lets a running clone
//! finish, which is of no use once the server is gone. As the server's preStop hook this waits for it.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{sleep, timeout};

use super::{Outcome, ask};
use crate::settings::Drain;

/// Between two questions.
const PERIOD: Duration = Duration::from_millis(250);

/// The sidecar answers at once, or not at all.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Runs the command.
pub async fn run(settings: &Drain) -> Result<Outcome> {
    let over = async {
        while is_donating(settings).await {
            sleep(PERIOD).await;
        }
    };
    Ok(match timeout(settings.limit, over).await {
        Ok(()) => Outcome::Done,
        Err(_) => Outcome::No(format!("a clone is still being served after {} seconds", settings.limit.as_secs())),
    })
}

/// A sidecar that doesn't answer has ended, or hangs: nothing of it is worth waiting for.
async fn is_donating(settings: &Drain) -> bool {
    match timeout(ANSWER_LIMIT, ask::status(settings.sidecar)).await {
        Ok(Ok(status)) => status["donating"].as_bool().unwrap_or(false),
        Ok(Err(_)) | Err(_) => false,
    }
}

//! `mysqlset drain`: keeps a server from being stopped while a clone of it is made.
//!
//! When a pod is deleted, its server and its sidecar are told to stop at the same moment; the sidecar lets a running clone
//! finish, which is of no use once the server is gone. As the server's preStop hook this waits for it, and has the sidecar
//! begin no other: it may not have been told to stop yet.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{sleep, timeout};

use super::{Outcome, ask};
use crate::settings::Drain;

/// Between two questions.
const PERIOD: Duration = Duration::from_millis(250);

/// Questions without an answer after which nothing is worth waiting for.
const ENOUGH: u32 = 2;

/// The sidecar answers at once, or not at all.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Runs the command.
pub async fn run(settings: &Drain) -> Result<Outcome> {
    let over = async {
        let mut unanswered = 0;
        while unanswered < ENOUGH {
            match timeout(ANSWER_LIMIT, ask::hold(settings.sidecar)).await {
                Ok(Ok(status)) if status["donating"] != true => break,
                Ok(Ok(_)) => unanswered = 0,
                // It has ended, or hangs.
                Ok(Err(_)) | Err(_) => unanswered += 1,
            }
            sleep(PERIOD).await;
        }
    };
    Ok(match timeout(settings.limit, over).await {
        Ok(()) => Outcome::Done,
        Err(_) => Outcome::No(format!("a clone is still being served after {} seconds", settings.limit.as_secs())),
    })
}

//! `mysqlset probe`: what `mysql -e 'SELECT 1'` is for in the tutorial, without a client in the image.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use hyper::StatusCode;
use serde_json::Value;

use super::outcome::Outcome;
use super::sidecar_client::{self, get};
use crate::model::host::HostPort;
use crate::observe::http::NOT_READY_YET;
use crate::server::account::Account;
use crate::server::{Server, ServerError, TurnedAway};
use crate::settings::{Probe, Question};

/// Between two questions while there is something to come up.
const PAUSE: Duration = Duration::from_millis(250);

/// Runs the command.
pub async fn run(settings: &Probe) -> Result<Outcome> {
    let started = Instant::now();
    loop {
        let Err(why) = answer(settings).await else { return Ok(Outcome::Done) };
        if !may_be_starting(&settings.question, &why) || started.elapsed() >= settings.while_starting {
            return Ok(Outcome::No(format!("{why:#}")));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn answer(settings: &Probe) -> Result<()> {
    let answer = async {
        match &settings.question {
            Question::Alive { server, account } => is_alive(server, account).await,
            Question::Ready { sidecar, max_lag } => is_ready(*sidecar, *max_lag).await,
        }
    };
    let answer = tokio::time::timeout(settings.timeout, answer).await;
    answer.unwrap_or_else(|_| bail!("no answer in {} seconds", settings.timeout.as_secs()))
}

/// A server that is away may be coming up. A sidecar says itself whether its pod was ready before; one that nobody listens
/// for has not begun. One that hangs has.
fn may_be_starting(question: &Question, why: &anyhow::Error) -> bool {
    match question {
        Question::Alive { .. } => true,
        Question::Ready { .. } => {
            let refused = |cause: &std::io::Error| cause.kind() == ErrorKind::ConnectionRefused;
            why.to_string().starts_with(NOT_READY_YET)
                || why.chain().any(|cause| cause.downcast_ref().is_some_and(refused))
        }
    }
}

/// A server that answers lives, whatever it says: for a wrong password, for too many connections, or to our first question.
async fn is_alive(server: &HostPort, account: &Account) -> Result<()> {
    match Server::connect(server, account).await {
        Ok(server) => server.close().await,
        Err(error) if error.is::<TurnedAway>() || error.chain().any(|cause| cause.is::<ServerError>()) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

async fn is_ready(sidecar: SocketAddr, max_lag: Option<Duration>) -> Result<()> {
    let (status, answer) = get(sidecar, "/readyz").await?;
    if status != StatusCode::OK {
        bail!("{}", String::from_utf8_lossy(&answer).trim());
    }
    let Some(max_lag) = max_lag else { return Ok(()) };
    check_lag(&sidecar_client::status(sidecar).await?, max_lag)
}

/// A primary has none.
fn check_lag(status: &Value, max_lag: Duration) -> Result<()> {
    if status["role"] == "primary" {
        return Ok(());
    }
    match status["replication"]["lag_seconds"].as_u64() {
        Some(lag) if lag <= max_lag.as_secs() => Ok(()),
        Some(lag) => bail!("not ready: replication is {lag} seconds behind, more than {}", max_lag.as_secs()),
        None => bail!("not ready: the server does not say how far replication is behind"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lag_counts_on_replicas_only() {
        let lag = |status: Value| check_lag(&status, Duration::from_secs(30)).map_err(|error| error.to_string());
        let replica = |lag: Value| json!({"role": "replica", "replication": {"lag_seconds": lag}});
        assert_eq!(lag(replica(json!(30))), Ok(()));
        assert!(lag(replica(json!(31))).unwrap_err().contains("31 seconds behind"));
        assert!(lag(replica(Value::Null)).is_err());
        assert!(lag(json!({"role": "replica", "replication": null})).is_err());
        assert_eq!(lag(json!({"role": "primary", "replication": null})), Ok(()));
    }
}

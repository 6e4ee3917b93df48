//! `mysqlset probe`: what `mysql -e 'SELECT 1'` is for in the tutorial, without a client in the image.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, bail};
use hyper::StatusCode;
use serde_json::Value;

use super::Outcome;
use super::ask::{self, get};
use crate::mysql::{Server, TurnedAway};
use crate::settings::{Account, HostPort, Probe, Question};

/// Runs the command.
pub async fn run(settings: &Probe) -> Result<Outcome> {
    let answer = async {
        match &settings.question {
            Question::Alive { server, account } => is_alive(server, account).await,
            Question::Ready { sidecar, max_lag } => is_ready(*sidecar, *max_lag).await,
        }
    };
    Ok(match tokio::time::timeout(settings.timeout, answer).await {
        Ok(Ok(())) => Outcome::Done,
        Ok(Err(error)) => Outcome::No(format!("{error:#}")),
        Err(_) => Outcome::No(format!("no answer in {} seconds", settings.timeout.as_secs())),
    })
}

/// A server that turns us away lives, be it for the password or for too many connections.
async fn is_alive(server: &HostPort, account: &Account) -> Result<()> {
    match Server::connect(server, account).await {
        Ok(server) => server.close().await,
        Err(error) if error.is::<TurnedAway>() => {}
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
    check_lag(&ask::status(sidecar).await?, max_lag)
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

//! `mysqlset link`: prints a link to all that the sidecar knows, for who looks at it through `kubectl port-forward`.

use std::net::SocketAddr;

use anyhow::Result;

use super::outcome::Outcome;
use super::sidecar_client;
use crate::observe::http::VALID_FOR;

/// Runs the command.
pub async fn run(sidecar: SocketAddr) -> Result<Outcome> {
    let token = sidecar_client::token(sidecar).await?;
    println!("http://localhost:{}/status?token={token}", sidecar.port());
    eprintln!("valid for {} minutes, behind: kubectl port-forward POD {}", VALID_FOR.as_secs() / 60, sidecar.port());
    Ok(Outcome::Done)
}

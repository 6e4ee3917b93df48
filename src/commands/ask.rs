//! Asks the sidecar beside us over HTTP.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// More than the sidecar has to say, in bytes.
const ANSWER_LIMIT: usize = 1 << 20;

/// All that it knows.
pub async fn status(sidecar: SocketAddr) -> Result<Value> {
    let (_, answer) = get(sidecar, "/status").await?;
    serde_json::from_slice(&answer).context("what the sidecar says is no JSON")
}

/// The same, and has it begin no clone for some seconds.
pub async fn hold(sidecar: SocketAddr) -> Result<Value> {
    let (status, answer) = ask(Method::POST, sidecar, "/hold").await?;
    ensure!(status == StatusCode::OK, "{}", String::from_utf8_lossy(&answer).trim());
    serde_json::from_slice(&answer).context("what the sidecar says is no JSON")
}

/// One page.
pub async fn get(address: SocketAddr, path: &str) -> Result<(StatusCode, Bytes)> {
    ask(Method::GET, address, path).await
}

async fn ask(method: Method, address: SocketAddr, path: &str) -> Result<(StatusCode, Bytes)> {
    let asking = || format!("asking the sidecar at {address}");
    let stream = TcpStream::connect(address).await.with_context(asking)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.with_context(asking)?;
    tokio::spawn(connection);
    let request =
        Request::builder().method(method).uri(path).header(HOST, address.to_string()).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await.with_context(asking)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("{error}")).with_context(asking)?;
    Ok((status, body.to_bytes()))
}

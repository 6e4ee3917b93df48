//! Asks the sidecar beside us.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::observe::own_pod;

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

/// What stands behind `?token=` in a link to all that it knows.
pub async fn token(sidecar: SocketAddr) -> Result<String> {
    let (status, answer) = ask(Method::POST, sidecar, "/link").await?;
    let answer = String::from_utf8_lossy(&answer).trim().to_owned();
    ensure!(status == StatusCode::OK, "{answer}");
    Ok(answer)
}

/// One page.
pub async fn get(address: SocketAddr, path: &str) -> Result<(StatusCode, Bytes)> {
    ask(Method::GET, address, path).await
}

/// By the way that this pod's containers have; an address that is not this pod's own is asked over the network.
async fn ask(method: Method, address: SocketAddr, path: &str) -> Result<(StatusCode, Bytes)> {
    let asking = || format!("asking the sidecar at {address}");
    if !address.ip().to_canonical().is_loopback() {
        let stream = TcpStream::connect(address).await.with_context(asking)?;
        return converse(stream, method, address, path).await.with_context(asking);
    }
    let answer = match own_pod::connect(address.port()).await {
        Ok(stream) => converse(stream, method.clone(), address, path).await,
        Err(error) => Err(error.into()),
    };
    // The sidecar may have been shut out there, or we are; what everyone may know is still to be had.
    if answer.is_err() && method == Method::GET {
        let stream = TcpStream::connect(address).await.with_context(asking)?;
        return converse(stream, method, address, path).await.with_context(asking);
    }
    answer.with_context(asking)
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    method: Method,
    address: SocketAddr,
    path: &str,
) -> Result<(StatusCode, Bytes)> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request =
        Request::builder().method(method).uri(path).header(HOST, address.to_string()).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok((status, body.to_bytes()))
}

//! The client for the sidecar in this pod.

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

/// More than the sidecar ever sends, in bytes.
const ANSWER_LIMIT: usize = 1 << 20;

/// The sidecar's full status.
pub async fn status(sidecar: SocketAddr) -> Result<Value> {
    let (_, answer) = get(sidecar, "/status").await?;
    serde_json::from_slice(&answer).context("the sidecar's answer is not JSON")
}

/// The same, and asks it to begin no clone for some seconds.
pub async fn hold(sidecar: SocketAddr) -> Result<Value> {
    let (status, answer) = ask(Method::POST, sidecar, "/hold").await?;
    ensure!(status == StatusCode::OK, "{}", String::from_utf8_lossy(&answer).trim());
    serde_json::from_slice(&answer).context("the sidecar's answer is not JSON")
}

/// The `?token=` value of a link to the full status.
pub async fn token(sidecar: SocketAddr) -> Result<String> {
    let (status, answer) = ask(Method::POST, sidecar, "/link").await?;
    let answer = String::from_utf8_lossy(&answer).trim().to_owned();
    ensure!(status == StatusCode::OK, "{answer}");
    Ok(answer)
}

/// Gets one page.
pub async fn get(address: SocketAddr, path: &str) -> Result<(StatusCode, Bytes)> {
    ask(Method::GET, address, path).await
}

/// Uses the socket of this pod's containers. An address outside this pod is asked over the network.
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
    // The socket may be blocked on either side; the public part is still available over the port.
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

//! Health, readiness, metrics and status over HTTP.
//!
//! | path | answers |
//! |---|---|
//! | `/healthz` | 200 as long as the sidecar lives; nothing about the server |
//! | `/readyz` | 200 when clients may be sent to this pod, else 503 and why; "not ready yet" until the first time |
//! | `/metrics` | Prometheus' text format |
//! | `/status` | all that is known, as JSON |
//! | `POST /hold` | the same; no clone is begun for the next seconds. From this pod only: its server is about to stop |

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tracing::debug;

use crate::event::{Cause, Event, warn};
use crate::exit::Reason;
use crate::listening::Listener;
use crate::metrics::Metrics;
use crate::mysql::trouble::Recurring;
use crate::own_address;
use crate::status::{Snapshot, Status};

/// How `/readyz` begins until the pod is ready for the first time.
pub const NOT_READY_YET: &str = "not ready yet";

/// And afterwards.
const NOT_READY: &str = "not ready";

/// Connections at once; probes and a scraper need a handful, and whoever holds some for nothing must not keep them out.
const CONNECTIONS: usize = 64;

/// A connection is given this long for everything: less than a probe waits.
const CONNECTION_LIMIT: Duration = Duration::from_secs(2);

/// How long a hold lasts; who wants it longer asks again.
const HOLD: Duration = Duration::from_secs(5);

/// What the answers are made of.
pub struct Pages {
    pub status: Arc<Status>,
    pub metrics: Arc<Metrics>,
}

/// Binds the port.
pub fn bind(address: SocketAddr) -> Result<Listener> {
    Listener::open(address)
        .with_context(|| format!("listening for HTTP on {address}"))
        .map_err(|error| Reason::Listen.because(error))
}

/// Answers for ever.
pub async fn serve(listener: Arc<Listener>, pages: Arc<Pages>) -> Infallible {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut said = Recurring::default();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { continue };
        match listener.accept().await {
            Ok((stream, peer)) => {
                said.clear();
                let (pages, is_local) = (pages.clone(), own_address::is_own(peer.ip()));
                tokio::spawn(async move {
                    let _place = place;
                    let _ = tokio::time::timeout(CONNECTION_LIMIT, converse(stream, is_local, pages)).await;
                });
            }
            Err(error) => {
                if said.is_news_of(&Event::HttpAcceptFailed.because(&error)) {
                    warn!(HttpAcceptFailed, %error, "accepting an HTTP connection failed");
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, is_local: bool, pages: Arc<Pages>) {
    let answer = service_fn(|request: Request<Incoming>| {
        let response = pages.answer(request.method(), request.uri().path(), is_local);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECTION_LIMIT)
        .keep_alive(false)
        .max_buf_size(16 << 10)
        .serve_connection(TokioIo::new(stream), answer);
    if let Err(error) = connection.await {
        debug!(%error, "an HTTP connection ended badly");
    }
}

impl Pages {
    fn answer(&self, method: &Method, path: &str, is_local: bool) -> Response<Full<Bytes>> {
        if method == Method::POST && path == "/hold" {
            if !is_local {
                return text(StatusCode::FORBIDDEN, "only from this pod\n".to_owned());
            }
            self.status.hold(HOLD);
            return self.status_page();
        }
        if method != Method::GET && method != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned());
        }
        match path {
            "/healthz" => text(StatusCode::OK, "alive\n".to_owned()),
            "/readyz" => match self.status.get().ready() {
                Ok(()) => text(StatusCode::OK, "ready\n".to_owned()),
                Err(why) => {
                    let not_ready = if self.status.was_ready() { NOT_READY } else { NOT_READY_YET };
                    text(StatusCode::SERVICE_UNAVAILABLE, format!("{not_ready} ({}): {why}\n", why.event))
                }
            },
            "/metrics" => {
                page(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", self.metrics.page())
            }
            "/status" => self.status_page(),
            _ => text(StatusCode::NOT_FOUND, "there are /healthz, /readyz, /metrics and /status\n".to_owned()),
        }
    }

    fn status_page(&self) -> Response<Full<Bytes>> {
        match serde_json::to_string_pretty(&StatusPage::of(&self.status.get())) {
            Ok(json) => page(StatusCode::OK, "application/json", json + "\n"),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }
}

/// What `/status` shows.
#[derive(Serialize)]
struct StatusPage<'a> {
    /// Why the pod is not ready, where it is not.
    not_ready: Option<Cause>,
    #[serde(flatten)]
    snapshot: &'a Snapshot,
}

impl StatusPage<'_> {
    fn of(snapshot: &Snapshot) -> StatusPage<'_> {
        StatusPage { not_ready: snapshot.ready().err(), snapshot }
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    page(status, "text/plain; charset=utf-8", body)
}

fn page(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ordinal::Role;

    fn pages() -> Pages {
        let status = Arc::new(Status::new("mysql-0".into(), Role::Primary));
        Pages { metrics: Arc::new(Metrics::new(status.clone())), status }
    }

    #[test]
    fn health_is_the_sidecars_and_readiness_the_servers() {
        let pages = pages();
        let code = |path| pages.answer(&Method::GET, path, false).status().as_u16();
        assert_eq!((code("/healthz"), code("/readyz"), code("/nowhere")), (200, 503, 404));
        pages.status.update(|snapshot| {
            snapshot.server = Some("10.11".into());
            snapshot.settled = true;
            snapshot.trouble = None;
        });
        assert_eq!(pages.answer(&Method::GET, "/readyz", false).status().as_u16(), 200);
        assert_eq!(pages.answer(&Method::POST, "/readyz", true).status().as_u16(), 405);
    }

    #[test]
    fn only_the_pod_itself_holds_clones_back() {
        let pages = pages();
        let code = |method: Method, is_local| pages.answer(&method, "/hold", is_local).status().as_u16();
        assert_eq!((code(Method::POST, false), code(Method::GET, true)), (403, 404));
        assert!(!pages.status.is_held());
        assert_eq!(code(Method::POST, true), 200);
        assert!(pages.status.is_held());
    }

    #[test]
    fn metrics_name_what_they_count() {
        let pages = pages();
        pages.metrics.refused(crate::wire::message::Why::Busy);
        pages.metrics.donated(10, 0.5);
        let page = pages.metrics.page();
        for line in [
            "mysqlset_server_up 0.0",
            "mysqlset_donor_clones_total{outcome=\"served\"} 1",
            "mysqlset_donor_sent_bytes_total 10",
            "mysqlset_donor_refusals_total{reason=\"busy\"} 1",
            "mysqlset_server_starts_seen_total 0",
        ] {
            assert!(page.contains(line), "{line} is not in:\n{page}");
        }
        assert!(page.ends_with("# EOF\n"));
    }
}

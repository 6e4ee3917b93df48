//! Serves health, readiness, metrics and status over HTTP.
//!
//! | path | answers |
//! |---|---|
//! | `/healthz` | 200 as long as the sidecar lives, regardless of the server |
//! | `/readyz` | 200 when clients may be sent to this pod, else 503; "not ready yet" until the first time. With full access: the reason |
//! | `/metrics` | Prometheus' text format |
//! | `/status` | with full access everything, as JSON; otherwise whether the pod is ready and serves a clone |
//! | `POST /hold` | `/status`, and delays new clones for some seconds. From this pod only: its server is about to stop |
//! | `POST /link` | the value of `?token=` for a link with full access. From this pod only |
//!
//! These have full access: the containers of this pod, through their own socket ([`crate::observe::own_pod`]),
//! and requests with a valid link. In a set without a clone secret everyone has it, because the database is open
//! to everyone there, too.

mod link;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

use crate::model::event::{Cause, Event, warn};
use crate::model::exit::Reason;
use crate::observe::metrics::Metrics;
use crate::observe::own_pod::Door;
use crate::observe::snapshot::Snapshot;
use crate::observe::status::Status;
use crate::server::trouble::Recurring;
use crate::sys::connection_limit::Places;
use crate::sys::listening::Listener;
use link::Links;
pub use link::VALID_FOR;

/// The start of `/readyz` until the pod is ready for the first time.
pub const NOT_READY_YET: &str = "not ready yet";

/// The start of `/readyz` after that.
const NOT_READY: &str = "not ready";

/// The largest number of connections at once. Probes and a scraper need a handful, for a few milliseconds each.
const CONNECTIONS: usize = 64;

/// The time limit for a connection: less than a probe waits.
const CONNECTION_LIMIT: Duration = Duration::from_secs(2);

/// How long a hold lasts. The client may renew it.
const HOLD: Duration = Duration::from_secs(5);

/// The pause after an error of `accept`, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The sources of the answers.
pub struct Pages {
    status: Arc<Status>,
    metrics: Arc<Metrics>,
    links: Links,
    /// Whether everyone has full access.
    is_open: bool,
}

/// The origin of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    ThisPod,
    Anyone,
}

/// Binds the port.
pub fn bind(address: SocketAddr) -> Result<Listener> {
    Listener::open(address)
        .with_context(|| format!("listening for HTTP on {address}"))
        .map_err(|error| Reason::Listen.because(error))
}

/// Answers requests on the port, forever.
pub async fn serve(listener: Arc<Listener>, pages: Arc<Pages>) -> Infallible {
    let places = Places::new(CONNECTIONS);
    let mut said = Recurring::default();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                said.clear();
                let (pages, mut place) = (pages.clone(), places.take(peer.ip().into()));
                tokio::spawn(async move {
                    tokio::select! {
                        () = converse(stream, Asker::Anyone, pages) => {}
                        () = place.lost() => {}
                    }
                });
                // Lets the connection that lost its place close first.
                tokio::task::yield_now().await;
            }
            Err(error) => pause_after(error, &mut said).await,
        }
    }
}

/// Answers requests on the socket that only this pod's containers can reach.
pub async fn serve_own_pod(door: Arc<Door>, pages: Arc<Pages>) -> Infallible {
    let mut said = Recurring::default();
    loop {
        match door.accept().await {
            Ok(stream) => {
                said.clear();
                tokio::spawn(converse(stream, Asker::ThisPod, pages.clone()));
            }
            Err(error) => pause_after(error, &mut said).await,
        }
    }
}

async fn pause_after(error: std::io::Error, said: &mut Recurring) {
    if said.is_news_of(&Event::HttpAcceptFailed.because(&error)) {
        warn!(HttpAcceptFailed, %error, "cannot accept an HTTP connection");
    }
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, asker: Asker, pages: Arc<Pages>) {
    let answer = service_fn(|request: Request<Incoming>| {
        let response = pages.answer(request.method(), request.uri().path(), request.uri().query(), asker);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECTION_LIMIT)
        .keep_alive(false)
        .max_buf_size(16 << 10)
        .serve_connection(TokioIo::new(stream), answer);
    match tokio::time::timeout(CONNECTION_LIMIT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "an HTTP connection failed"),
        Err(_) => debug!("an HTTP connection took too long"),
    }
}

impl Pages {
    /// `is_open` gives everyone full access.
    pub fn new(status: Arc<Status>, metrics: Arc<Metrics>, is_open: bool) -> Result<Pages> {
        Ok(Pages { status, metrics, links: Links::new()?, is_open })
    }

    fn answer(&self, method: &Method, path: &str, query: Option<&str>, asker: Asker) -> Response<Full<Bytes>> {
        if method == Method::POST && matches!(path, "/hold" | "/link") {
            if asker != Asker::ThisPod {
                return text(StatusCode::FORBIDDEN, "allowed from this pod only\n".to_owned());
            }
            if path == "/link" {
                return text(StatusCode::OK, self.links.token());
            }
            self.status.hold(HOLD);
            return self.status_page();
        }
        if method != Method::GET && method != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned());
        }
        let may_see_all = self.is_open || asker == Asker::ThisPod || self.links.opens(query);
        match path {
            "/healthz" => text(StatusCode::OK, "alive\n".to_owned()),
            "/readyz" => match self.status.get().ready() {
                Ok(()) => text(StatusCode::OK, "ready\n".to_owned()),
                Err(why) => {
                    let not_ready = if self.status.was_ready() { NOT_READY } else { NOT_READY_YET };
                    let why = if may_see_all { format!(" ({}): {why}", why.event) } else { String::new() };
                    text(StatusCode::SERVICE_UNAVAILABLE, format!("{not_ready}{why}\n"))
                }
            },
            "/metrics" => {
                page(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", self.metrics.page())
            }
            "/status" if may_see_all => self.status_page(),
            "/status" => self.for_strangers(),
            _ => text(StatusCode::NOT_FOUND, "known paths: /healthz, /readyz, /metrics and /status\n".to_owned()),
        }
    }

    fn status_page(&self) -> Response<Full<Bytes>> {
        json_page(&StatusPage::of(&self.status.get()))
    }

    /// The public part: free of data, identity, positions, accounts and server errors.
    fn for_strangers(&self) -> Response<Full<Bytes>> {
        let snapshot = self.status.get();
        json_page(&json!({
            "ready": snapshot.ready().is_ok(),
            "donating": snapshot.donating,
            "more": "run mysqlset link in the pod for a link to the full status",
        }))
    }
}

/// The content of `/status`.
#[derive(Serialize)]
struct StatusPage<'a> {
    /// The reason, if the pod is not ready.
    not_ready: Option<Cause>,
    #[serde(flatten)]
    snapshot: &'a Snapshot,
}

impl StatusPage<'_> {
    fn of(snapshot: &Snapshot) -> StatusPage<'_> {
        StatusPage { not_ready: snapshot.ready().err(), snapshot }
    }
}

fn json_page(content: &impl Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_string_pretty(content) {
        Ok(json) => page(StatusCode::OK, "application/json", json + "\n"),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    page(status, "text/plain; charset=utf-8", body)
}

fn page(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    // Keeps browsers from storing a page behind a link.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ordinal::Role;

    fn pages() -> Pages {
        let status = Arc::new(Status::new("mysql-0".into(), Role::Primary));
        Pages::new(status.clone(), Arc::new(Metrics::new(status)), false).unwrap()
    }

    fn code(pages: &Pages, method: Method, path: &str, asker: Asker) -> u16 {
        pages.answer(&method, path, None, asker).status().as_u16()
    }

    async fn body(pages: &Pages, path: &str, query: Option<&str>, asker: Asker) -> String {
        use http_body_util::BodyExt as _;
        let method = if path == "/link" { Method::POST } else { Method::GET };
        let body = pages.answer(&method, path, query, asker).into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn strangers_see_only_the_public_part() {
        let mut pages = pages();
        pages.status.update(|snapshot| {
            snapshot.trouble = Some(Event::ServerTurnsAway.because("Access denied for user 'monitoring'"));
            snapshot.set_id = Some(crate::model::identity::SetId::of_random([1; 16]));
        });
        let tells = |text: &str| text.contains("monitoring") || text.contains("turns_away") || text.contains("set_id");
        for path in ["/status", "/readyz", "/metrics"] {
            let text = body(&pages, path, None, Asker::Anyone).await;
            assert!(!tells(&text), "{path}: {text}");
        }
        let query = format!("token={}", body(&pages, "/link", None, Asker::ThisPod).await);
        for path in ["/status", "/readyz"] {
            assert!(tells(&body(&pages, path, None, Asker::ThisPod).await), "{path}");
            assert!(tells(&body(&pages, path, Some(&query), Asker::Anyone).await), "{path}");
        }
        pages.is_open = true;
        assert!(tells(&body(&pages, "/status", None, Asker::Anyone).await));
    }

    #[test]
    fn health_is_about_the_sidecar_and_readiness_about_the_server() {
        let pages = pages();
        let get = |path| code(&pages, Method::GET, path, Asker::Anyone);
        assert_eq!((get("/healthz"), get("/readyz"), get("/nowhere")), (200, 503, 404));
        pages.status.update(|snapshot| {
            snapshot.server = Some("10.11".into());
            snapshot.settled = true;
            snapshot.trouble = None;
        });
        assert_eq!(get("/readyz"), 200);
        assert_eq!(code(&pages, Method::POST, "/readyz", Asker::ThisPod), 405);
    }

    #[test]
    fn only_the_pod_itself_can_hold_clones() {
        let pages = pages();
        let code = |method, asker| code(&pages, method, "/hold", asker);
        assert_eq!((code(Method::POST, Asker::Anyone), code(Method::GET, Asker::ThisPod)), (403, 404));
        assert!(!pages.status.is_held());
        assert_eq!(code(Method::POST, Asker::ThisPod), 200);
        assert!(pages.status.is_held());
    }

    #[test]
    fn metrics_are_named_after_their_counts() {
        let pages = pages();
        pages.metrics.refused(crate::protocol::message::Why::Busy);
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

//! Health, readiness, metrics and status over HTTP.
//!
//! | path | answers |
//! |---|---|
//! | `/healthz` | 200 as long as the sidecar lives; nothing about the server |
//! | `/readyz` | 200 when clients may be sent to this pod, else 503; "not ready yet" until the first time. To who may see it: why |
//! | `/metrics` | Prometheus' text format |
//! | `/status` | all that is known, as JSON, to who may see it; else whether the pod is ready and gives a clone |
//! | `POST /hold` | the same; no clone is begun for the next seconds. From this pod only: its server is about to stop |
//! | `POST /link` | what stands behind `?token=` in a link to what not all may see. From this pod only |
//!
//! Who may see all: the containers of this pod, by a way of their own ([`crate::observe::own_pod`]); who has such a link; and everyone
//! in a set without a clone secret, whose database is everyone's too.

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
use crate::observe::status::{Snapshot, Status};
use crate::server::trouble::Recurring;
use crate::sys::connection_limit::Places;
use crate::sys::listening::Listener;
use link::Links;
pub use link::VALID_FOR;

/// How `/readyz` begins until the pod is ready for the first time.
pub const NOT_READY_YET: &str = "not ready yet";

/// And afterwards.
const NOT_READY: &str = "not ready";

/// Connections at once; probes and a scraper need a handful, for a few milliseconds each.
const CONNECTIONS: usize = 64;

/// A connection is given this long for everything: less than a probe waits.
const CONNECTION_LIMIT: Duration = Duration::from_secs(2);

/// How long a hold lasts; who wants it longer asks again.
const HOLD: Duration = Duration::from_secs(5);

/// After an error of `accept`, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What the answers are made of.
pub struct Pages {
    status: Arc<Status>,
    metrics: Arc<Metrics>,
    links: Links,
    /// Whether everyone may see all.
    is_open: bool,
}

/// Who asks.
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

/// Answers for ever, on the port.
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
                // Whoever lost its place to this one closes its connection first.
                tokio::task::yield_now().await;
            }
            Err(error) => pause_after(error, &mut said).await,
        }
    }
}

/// The same for this pod, at a door that strangers have no way to.
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
        warn!(HttpAcceptFailed, %error, "accepting an HTTP connection failed");
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
        Ok(Err(error)) => debug!(%error, "an HTTP connection ended badly"),
        Err(_) => debug!("an HTTP connection took too long"),
    }
}

impl Pages {
    /// `is_open` says that everyone may see all.
    pub fn new(status: Arc<Status>, metrics: Arc<Metrics>, is_open: bool) -> Result<Pages> {
        Ok(Pages { status, metrics, links: Links::new()?, is_open })
    }

    fn answer(&self, method: &Method, path: &str, query: Option<&str>, asker: Asker) -> Response<Full<Bytes>> {
        if method == Method::POST && matches!(path, "/hold" | "/link") {
            if asker != Asker::ThisPod {
                return text(StatusCode::FORBIDDEN, "only from this pod\n".to_owned());
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
            _ => text(StatusCode::NOT_FOUND, "there are /healthz, /readyz, /metrics and /status\n".to_owned()),
        }
    }

    fn status_page(&self) -> Response<Full<Bytes>> {
        json_page(&StatusPage::of(&self.status.get()))
    }

    /// Nothing of data, identity, positions, accounts or a server's errors.
    fn for_strangers(&self) -> Response<Full<Bytes>> {
        let snapshot = self.status.get();
        json_page(&json!({
            "ready": snapshot.ready().is_ok(),
            "donating": snapshot.donating,
            "more": "mysqlset link, in the pod, prints a link to all that is known",
        }))
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
    // A page behind a link is nothing that a browser keeps.
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
    async fn strangers_see_nothing_of_what_is_known() {
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
    fn health_is_the_sidecars_and_readiness_the_servers() {
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
    fn only_the_pod_itself_holds_clones_back() {
        let pages = pages();
        let code = |method, asker| code(&pages, method, "/hold", asker);
        assert_eq!((code(Method::POST, Asker::Anyone), code(Method::GET, Asker::ThisPod)), (403, 404));
        assert!(!pages.status.is_held());
        assert_eq!(code(Method::POST, Asker::ThisPod), 200);
        assert!(pages.status.is_held());
    }

    #[test]
    fn metrics_name_what_they_count() {
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

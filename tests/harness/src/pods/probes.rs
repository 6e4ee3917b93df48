//! Startup, readiness and liveness probes. Their delays and periods are shortened (`QUICKER`); thresholds and timeouts
//! are unchanged.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Shared;
use super::manifest::{Container, HttpProbe, Probe};
use super::pod::Pod;

/// The factor on the manifest's rate.
const QUICKER: u32 = 10;

/// The factor on the pause after a command's success: each takes three processes, and the pods are many.
const AFTER_A_YES: u32 = 4;

/// Probes one container, on a thread of its own, until it is dropped.
pub struct Prober {
    state: Arc<State>,
}

struct State {
    /// Whether the startup probe has succeeded; the others wait for that.
    started: AtomicBool,
    ready: AtomicBool,
    dead: AtomicBool,
    stopped: AtomicBool,
}

impl Prober {
    pub fn start(pod: &Arc<Pod>, container: &Container, shared: &Arc<Shared>) -> Prober {
        let state = Arc::new(State {
            started: AtomicBool::new(container.startup_probe.is_none()),
            ready: AtomicBool::new(container.readiness_probe.is_none()),
            dead: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        });
        let probes = [
            (&container.startup_probe, Kind::Startup),
            (&container.readiness_probe, Kind::Readiness),
            (&container.liveness_probe, Kind::Liveness),
        ];
        for (probe, kind) in probes {
            let Some(probe) = probe.clone() else { continue };
            let asking = Asking {
                pod: Arc::downgrade(pod),
                container: container.clone(),
                probe,
                kind,
                state: state.clone(),
                shared: Arc::downgrade(shared),
            };
            std::thread::spawn(move || asking.run());
        }
        Prober { state }
    }

    pub fn is_started(&self) -> bool {
        self.state.started.load(Ordering::Acquire)
    }

    pub fn is_ready(&self) -> bool {
        self.state.started.load(Ordering::Acquire) && self.state.ready.load(Ordering::Acquire)
    }

    pub fn is_dead(&self) -> bool {
        self.state.dead.load(Ordering::Acquire)
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::Release);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Startup,
    Readiness,
    Liveness,
}

struct Asking {
    pod: Weak<Pod>,
    container: Container,
    probe: Probe,
    kind: Kind,
    state: Arc<State>,
    shared: Weak<Shared>,
}

impl Asking {
    fn run(&self) {
        let period = Duration::from_secs(self.probe.period_seconds) / QUICKER;
        // The faster clock here must leave a slow server enough time to start.
        let delay = Duration::from_secs(self.probe.initial_delay_seconds);
        self.pause(if self.kind == Kind::Liveness { delay } else { delay / QUICKER });
        let mut failures = 0;
        while !self.stopped() {
            if self.kind != Kind::Startup && !self.state.started.load(Ordering::Acquire) {
                self.pause(period);
                continue;
            }
            let answer = self.ask();
            let good = answer.is_ok();
            if let (Err(why), Some(shared)) = (answer, self.shared.upgrade()) {
                self.note(&shared, &format!("{why:#}"));
            }
            failures = if good { 0 } else { failures + 1 };
            if good || failures >= self.probe.failure_threshold {
                match self.kind {
                    Kind::Readiness => self.state.ready.store(good, Ordering::Release),
                    Kind::Startup if good => return self.state.started.store(true, Ordering::Release),
                    Kind::Startup | Kind::Liveness if good => {}
                    Kind::Startup | Kind::Liveness => self.state.dead.store(true, Ordering::Release),
                }
            }
            let is_costly = good && self.probe.exec.is_some();
            self.pause(if is_costly { period * AFTER_A_YES } else { period });
        }
    }

    /// Like kubelet's event, with the probe's message. Pods about to end and ended containers are skipped.
    fn note(&self, shared: &Shared, why: &str) {
        let Some(pod) = self.pod.upgrade() else { return };
        if self.stopped() || pod.deleted.load(Ordering::Acquire) || pod.container(&self.container.name).is_err() {
            return;
        }
        let kind = format!("{:?}", self.kind);
        let line = format!("Unhealthy: {}: {kind} probe of {} failed: {why}", pod.name, self.container.name);
        let mut unhealthy = shared.unhealthy.lock().expect("unhealthy");
        if !unhealthy.contains(&line) {
            unhealthy.push(line);
        }
    }

    fn stopped(&self) -> bool {
        self.state.stopped.load(Ordering::Acquire)
    }

    fn pause(&self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end && !self.stopped() {
            std::thread::sleep(Duration::from_millis(10).min(time));
        }
    }

    fn ask(&self) -> Result<()> {
        let pod = self.pod.upgrade().context("the pod is gone")?;
        let limit = Duration::from_secs(self.probe.timeout_seconds);
        if let Some(exec) = &self.probe.exec {
            let output = pod.container(&self.container.name)?.exec(&exec.command, limit)?;
            let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim().to_owned();
            ensure!(output.status.success(), "{said} ({})", output.status);
        }
        if let Some(http) = &self.probe.http_get {
            let shared = self.shared.upgrade().context("the cluster is gone")?;
            let address = SocketAddr::new(pod.network.address(), self.port(http)?);
            let (code, body) = http_get(&shared, address, &http.path, limit)?;
            ensure!((200..400).contains(&code), "{} answered {code}: {body}", http.path);
        }
        Ok(())
    }

    fn port(&self, http: &HttpProbe) -> Result<u16> {
        if let Some(number) = http.port.as_u64() {
            return Ok(number as u16);
        }
        let name = http.port.as_str().context("a port is a number or a name")?;
        let port = self.container.ports.iter().find(|port| port.name == name);
        Ok(port.with_context(|| format!("no port {name}"))?.container_port)
    }
}

/// One request, in the cluster's network.
pub fn http_get(shared: &Shared, address: SocketAddr, path: &str, limit: Duration) -> Result<(u16, String)> {
    http_get_by(shared.network.connect(address, limit)?, address, path, limit)
}

/// The same over an existing connection.
pub fn http_get_by(stream: TcpStream, address: SocketAddr, path: &str, limit: Duration) -> Result<(u16, String)> {
    let mut stream = stream;
    stream.set_read_timeout(Some(limit))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no end of the head")?;
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no status")?;
    Ok((code, body.to_owned()))
}

//! One container, kept running.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::process::Signal;

use super::Shared;
use super::container::{Running, World};
use super::manifest::Container;
use super::pod::Pod;
use super::probes::Prober;

/// The first pause before a failed container's next start, and the longest. Kubernetes waits 10 s, then 20 s, … up to 5
/// minutes.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_secs(4);

/// A container that has run for this long has no more failures on record; kubelet waits 10 minutes.
const FORGIVEN_AFTER: Duration = Duration::from_secs(30);

/// Keeps one container running.
pub struct Keeper<'a> {
    pub container: &'a Container,
    pub prober: Option<Prober>,
    backoff: Duration,
    not_before: Instant,
    started: Instant,
    /// It starts again after any end.
    always: bool,
    done: bool,
}

impl<'a> Keeper<'a> {
    pub fn new(container: &'a Container, always: bool) -> Keeper<'a> {
        let now = Instant::now();
        Keeper { container, prober: None, backoff: FIRST_BACKOFF, not_before: now, started: now, always, done: false }
    }

    /// Whether the next init container may start. This one has succeeded or, if it is a sidecar, has started.
    pub fn is_passed(&self) -> bool {
        self.done || self.always && self.prober.as_ref().is_some_and(Prober::is_started)
    }

    /// Starts the container if it is stopped, and notices its end.
    pub fn look(&mut self, pod: &Arc<Pod>, shared: &Arc<Shared>, world: &World<'_>) -> Result<()> {
        let name = &self.container.name;
        let running = pod.containers.lock().expect("containers").get(name).cloned();
        let Some(running) = running else { return self.start(pod, shared, world) };
        let Some(end) = running.ended()? else {
            if self.prober.as_ref().is_some_and(Prober::is_dead) {
                shared.event(format!("{}: {name} fails its liveness probe and is killed", pod.name));
                running.signal(Signal::KILL);
            }
            return Ok(());
        };
        pod.containers.lock().expect("containers").remove(name);
        self.prober = None;
        self.done = !self.always && end.exit_code == 0;
        let mut message = format!("{}: {name} ended with {}", pod.name, end.exit_code);
        if !end.message.is_empty() {
            message += &format!(": {}", end.message);
        }
        shared.event(message);
        let mut status = pod.status.lock().expect("status");
        let container = status.containers.entry(name.clone()).or_default();
        container.pid = None;
        container.last_termination = Some(end);
        if !self.done {
            container.restarts += 1;
            if self.started.elapsed() > FORGIVEN_AFTER {
                self.backoff = FIRST_BACKOFF;
            }
            self.not_before = Instant::now() + self.backoff;
            self.backoff = (self.backoff * 2).min(LONGEST_BACKOFF);
        }
        Ok(())
    }

    fn start(&mut self, pod: &Arc<Pod>, shared: &Arc<Shared>, world: &World<'_>) -> Result<()> {
        if Instant::now() < self.not_before {
            return Ok(());
        }
        let name = &self.container.name;
        let running = Running::start(self.container, world)?;
        self.started = Instant::now();
        let mut status = pod.status.lock().expect("status");
        let container = status.containers.entry(name.clone()).or_default();
        container.pid = Some(running.pid);
        shared.event(format!("{}: {name} starts", pod.name));
        pod.containers.lock().expect("containers").insert(name.clone(), Arc::new(running));
        self.prober = Some(Prober::start(pod, self.container, shared));
        Ok(())
    }
}

//! `mysqlset sidecar`: keeps the server beside it in its place in the set. It serves clones, health and metrics until
//! it is told to stop.
//!
//! A sidecar that ends takes its whole pod out of the Services. So once the ports are bound, only SIGTERM or SIGINT
//! ends it. A part that fails is started again.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::outcome::Outcome;
use super::runtime::{bear_limits, runtime};
use crate::clone::donor::{self, ClonePort, Donor};
use crate::datadir::layout::Layout;
use crate::model::event::{error, info, warn};
use crate::observe::http::{self, Pages};
use crate::observe::metrics::Metrics;
use crate::observe::own_pod::Door;
use crate::observe::status::Status;
use crate::replication;
use crate::settings::Sidecar;
use crate::sys::child;
use crate::sys::heap;
use crate::sys::pid1;
use crate::sys::temporary_directory;

/// Wait before the socket for this pod's own containers is tried again.
const DOOR_PAUSE: Duration = Duration::from_secs(2);

/// Wait before a failed part is started again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Runs the command.
pub fn run(settings: Sidecar) -> Result<Outcome> {
    heap::keep_small();
    let runtime = runtime()?;
    let outcome = runtime.block_on(live(Arc::new(settings)));
    child::kill_all();
    runtime.shutdown_background();
    outcome
}

async fn live(settings: Arc<Sidecar>) -> Result<Outcome> {
    bear_limits()?;
    let stop = Stop::listen()?;
    let clones = ClonePort::open(settings.clone_listen)?;
    let http = Arc::new(http::bind(settings.http_listen)?);
    let scratch = scratch_directory(&settings)?;
    temporary_directory::clean(&scratch);

    let status = Arc::new(Status::new(settings.member.to_string(), settings.member.role()));
    let metrics = Arc::new(Metrics::new(status.clone()));
    let is_open = settings.peering.secret.is_none();
    let pages = Arc::new(Pages::new(status.clone(), metrics.clone(), is_open)?);
    supervise("orphans", pid1::reap_orphans);
    let door = Arc::new(OnceLock::new());
    open_door(&settings, &door);
    supervise("own pod", {
        let (settings, pages) = (settings.clone(), pages.clone());
        move || serve_own_pod(settings.clone(), door.clone(), pages.clone())
    });
    supervise("http", move || http::serve(http.clone(), pages.clone()));
    supervise("replication", {
        let (settings, status) = (settings.clone(), status.clone());
        move || replication::keep(settings.clone(), status.clone())
    });
    info!(
        SidecarStarted,
        pod = %settings.member,
        role = %settings.member.role(),
        http = %settings.http_listen,
        "the sidecar has started"
    );
    donor::serve(Donor::new(settings, status, metrics, scratch), clones, stop.wait()).await;
    info!(SidecarStopped, "the sidecar stops");
    Ok(Outcome::Done)
}

/// Runs a part for ever, and restarts it after a panic.
fn supervise<F>(name: &'static str, part: impl Fn() -> F + Send + 'static)
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    tokio::spawn(async move {
        loop {
            if let Err(failure) = tokio::spawn(part()).await {
                error!(SidecarPartFailed, part = name, %failure, "a part of the sidecar failed and is started again");
            }
            tokio::time::sleep(RESTART_PAUSE).await;
        }
    });
}

/// Opens the socket for probes and hooks of this pod. Without it they use the port, where they learn less.
fn open_door(settings: &Sidecar, door: &OnceLock<Arc<Door>>) {
    match Door::open(settings.http_listen.port(), &settings.data_dir) {
        Ok(open) => drop(door.set(Arc::new(open))),
        Err(error) => {
            warn!(
                OwnPodShutOut,
                %error,
                "cannot tell this pod's own containers from strangers: drain cannot hold clones back"
            );
        }
    }
}

/// Retries for as long as another process holds the socket's name: an earlier sidecar, or a stranger in the pod.
async fn serve_own_pod(settings: Arc<Sidecar>, door: Arc<OnceLock<Arc<Door>>>, pages: Arc<Pages>) -> Infallible {
    loop {
        if let Some(door) = door.get() {
            return http::serve_own_pod(door.clone(), pages).await;
        }
        tokio::time::sleep(DOOR_PAUSE).await;
        if let Ok(open) = Door::open(settings.http_listen.port(), &settings.data_dir) {
            let _ = door.set(Arc::new(open));
            info!(OwnPodReached, "this pod's own containers can reach the sidecar");
        }
    }
}

fn scratch_directory(settings: &Sidecar) -> Result<PathBuf> {
    match &settings.scratch_dir {
        Some(directory) => Ok(directory.clone()),
        None => Ok(Layout::of(&settings.data_dir)?.scratch().unwrap_or_else(std::env::temp_dir)),
    }
}

/// The signals that a first process has to ask for.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Stop {
    fn listen() -> Result<Stop> {
        Ok(Stop {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn wait(mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => info!(SidecarHup, "ignoring SIGHUP: there is nothing to reload"),
            }
        }
    }
}

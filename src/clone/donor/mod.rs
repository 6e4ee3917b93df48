//! The donor: serves clones of the local server, one at a time, until the sidecar stops.
//!
//! No peer can end it or keep others out. Each connection has deadlines. An unproven peer may lose its place to a later
//! one ([`crate::sys::connection_limit`]). The running clone and its backup tool are killed when the recipient leaves.

mod admission;
pub(in crate::clone) mod admitted;
mod answers;
mod compression_probe;
mod congestion_control;
pub(in crate::clone) mod context;
pub(in crate::clone) mod copied_files;
mod definitions;
mod greeting;
mod lines;
pub(in crate::clone) mod listing;
pub(in crate::clone) mod method;
pub(in crate::clone) mod preflight;
pub(in crate::clone) mod rate_limit;
pub(in crate::clone) mod relay;
pub(in crate::clone) mod relay_error;
mod report;
pub(in crate::clone) mod slot;
pub(in crate::clone) mod slowness;
pub(in crate::clone) mod splice;
pub(in crate::clone) mod survey;
mod tool_pipe;
pub(in crate::clone) mod tool_sessions;
mod waiting;
mod wrong_secrets;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::TcpStream;
use tokio::sync::TryAcquireError;
use tokio::task::JoinSet;
use tracing::{Instrument as _, debug, info_span};

use crate::model::event::{Event, info, warn};
use crate::model::exit::Reason;
use crate::server::trouble::Recurring;
use crate::sys::connection_limit::Places;
use crate::sys::listening::Listener;
use congestion_control::CongestionOverride;
pub use context::Donor;

/// Connections of unproven peers at once. An honest peer needs a few milliseconds: a flood of 2,000 a second from its
/// own address leaves it 64.
const UNPROVEN: usize = 128;

/// Pause after an error of `accept`, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Pause between two attempts to reach a server that is still starting.
const ORPHANS_PAUSE: Duration = Duration::from_secs(1);

/// The clone port.
pub struct ClonePort {
    listener: Listener,
    set_aside: Option<CongestionOverride>,
}

impl ClonePort {
    /// Binds the port. Connections wait until [`serve`].
    pub fn open(address: SocketAddr) -> Result<ClonePort> {
        let listener = Listener::open(address)
            .with_context(|| format!("cannot listen for clones on {address}"))
            .map_err(|error| Reason::Listen.because(error))?;
        let set_aside = CongestionOverride::by(&listener.socket);
        Ok(ClonePort { listener, set_aside })
    }

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = self.listener.accept().await?;
        if let Some(set_aside) = &self.set_aside {
            set_aside.give_back_unless_nearby(&stream);
        }
        Ok((stream, peer))
    }
}

/// Serves until `stop` completes; then lets a running clone finish, within the drain timeout.
pub async fn serve(donor: Arc<Donor>, port: ClonePort, stop: impl Future<Output = ()>) {
    announce(&donor);
    let tidying = tokio::spawn(end_orphans(donor.clone()));
    let mut sessions = JoinSet::new();
    let places = Places::new(UNPROVEN);
    let mut said = Recurring::default();
    let mut period = tokio::time::interval(lines::WHILE);
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            () = accept_one(&donor, &port, &places, &mut sessions, &mut said) => {
                // Lets accepted connections run and evicted ones end: a runtime with one thread calls its first future
                // more often than its other tasks, and they would pile up.
                tokio::task::yield_now().await;
            }
            _ = period.tick() => tell_unsaid(&donor),
        }
        while sessions.try_join_next().is_some() {}
    }
    drop(port);
    tidying.abort();
    drain(&donor, sessions).await;
}

/// Runs once, when the server first answers.
async fn end_orphans(donor: Arc<Donor>) {
    while let Err(error) = tool_sessions::end_orphans(&donor.settings.server, &donor.settings.backup).await {
        debug!("cannot look for sessions of an earlier backup tool: {error:#}");
        tokio::time::sleep(ORPHANS_PAUSE).await;
    }
}

fn tell_unsaid(donor: &Donor) {
    let unsaid = donor.lines.take_unsaid() + donor.lines_of_peers.take_unsaid();
    if unsaid > 0 {
        info!(
            DonorStrangers,
            connections = unsaid,
            "left out log lines about more connections that were refused or sent no request"
        );
    }
}

/// Accepts the next connection at once. Its handshake runs in a task of its own.
async fn accept_one(
    donor: &Arc<Donor>,
    port: &ClonePort,
    places: &Arc<Places>,
    sessions: &mut JoinSet<()>,
    said: &mut Recurring,
) {
    match port.accept().await {
        Ok((stream, peer)) => {
            said.clear();
            let place = places.take(peer.ip().into());
            let handling = admission::handle(donor.clone(), stream, peer.ip(), place);
            sessions.spawn(handling.instrument(info_span!("clone", %peer)));
        }
        Err(error) => {
            if said.is_news_of(&Event::DonorAcceptFailed.because(&error)) {
                warn!(DonorAcceptFailed, %error, "cannot accept a connection");
            }
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}

async fn drain(donor: &Donor, mut sessions: JoinSet<()>) {
    donor.stopping.store(true, Ordering::Relaxed);
    match donor.free_slot.try_acquire() {
        // The slot stays taken: a tool that started now would outlive this process.
        Ok(slot) => return slot.forget(),
        Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => {}
    }
    let limit = donor.settings.drain_timeout;
    info!(DonorDraining, limit_seconds = limit.as_secs(), "waiting for the running clone to finish");
    let finished = async {
        if let Ok(slot) = donor.free_slot.acquire().await {
            slot.forget();
        }
    };
    if tokio::time::timeout(limit, finished).await.is_err() {
        warn!(DonorCloneCut, "the running clone exceeded the drain timeout and is ended");
    }
    sessions.detach_all();
}

fn announce(donor: &Donor) {
    if donor.settings.donate_unproven_stream {
        warn!(
            DonorUnprovenAllowed,
            "serving the legacy stream: a silent peer, such as the tutorial's `ncat --recv-only`, gets the whole database \
             and no proof that it is complete (--donate-unproven-stream-to-anyone)"
        );
    }
    match (&donor.settings.peering.secret, donor.settings.donate_to_anyone) {
        (Some(_), _) => {
            info!(DonorServing, address = %donor.settings.clone_listen, "serving clones (clone secret required)")
        }
        (None, true) => warn!(
            DonorServingAnyone,
            address = %donor.settings.clone_listen,
            "serving clones to ANYONE who reaches this port (--donate-to-anyone); set a clone secret to close it"
        ),
        (None, false) => warn!(
            DonorServingNobody,
            "serving no clones: set a clone secret (MYSQLSET_CLONE_SECRET_FILE or MYSQLSET_CLONE_SECRET), \
             or pass --donate-to-anyone"
        ),
    }
}

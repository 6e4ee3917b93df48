//! The donor: serves clones of the local server, one at a time, for ever.
//!
//! Nothing that a peer sends or fails to send ends it or keeps others out: each connection has deadlines, who has proven
//! nothing may lose its place to who comes later ([`crate::sys::connection_limit`]), and the one clone that runs is killed with its backup tool
//! when its recipient goes.

pub(in crate::clone) mod admission;
mod answers;
pub(in crate::clone) mod backup;
mod compression_probe;
mod congestion_control;
mod copied_files;
mod definitions;
mod greeting;
mod guesses;
mod lines;
pub(in crate::clone) mod listing;
pub(in crate::clone) mod method;
pub(in crate::clone) mod preflight;
pub(in crate::clone) mod rate_limit;
pub(in crate::clone) mod relay;
mod report;
pub(in crate::clone) mod slowness;
pub(in crate::clone) mod splice;
mod tool_pipe;
mod tool_sessions;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::task::JoinSet;
use tracing::{Instrument as _, debug, info_span};

use crate::clone::method::backup_tool::BackupTool;
use crate::model::event::{Event, info, warn};
use crate::model::exit::Reason;
use crate::observe::metrics::Metrics;
use crate::observe::status::Status;
use crate::server::trouble::Recurring;
use crate::settings::Sidecar;
use crate::sys::connection_limit::Places;
use crate::sys::listening::Listener;
use answers::Answers;
use congestion_control::SetAside;
use guesses::Guesses;
use lines::Lines;
use slowness::Waiting;

/// Connections at once of peers that have proven nothing yet. An honest one needs a few milliseconds: a flood of 2,000 a second
/// from its own address leaves it 64.
const UNPROVEN: usize = 128;

/// And of peers that have proven themselves, but for the one that holds the turn. A pod that was taken over knows the secret.
const PROVEN: usize = 128;

/// After an error of `accept`, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Between two tries to reach a server that doesn't answer yet.
const ORPHANS_PAUSE: Duration = Duration::from_secs(1);

/// All that serving a clone needs.
pub struct Donor {
    pub(in crate::clone) settings: Arc<Sidecar>,
    pub(in crate::clone) status: Arc<Status>,
    metrics: Arc<Metrics>,
    scratch: PathBuf,
    /// One permit: one clone at a time.
    turn: Arc<Semaphore>,
    guesses: Guesses,
    answers: Answers,
    waiting: Arc<Waiting>,
    proven: Arc<Places>,
    /// About strangers.
    lines: Lines,
    /// About peers that have proven themselves.
    lines_of_peers: Lines,
    stopping: AtomicBool,
    tool: OnceLock<BackupTool>,
}

impl Donor {
    pub fn new(settings: Arc<Sidecar>, status: Arc<Status>, metrics: Arc<Metrics>, scratch: PathBuf) -> Arc<Donor> {
        Arc::new(Donor {
            settings,
            status,
            metrics,
            scratch,
            turn: Arc::new(Semaphore::new(1)),
            guesses: Guesses::default(),
            answers: Answers::default(),
            waiting: Arc::default(),
            proven: Places::new(PROVEN),
            lines: Lines::of_strangers(),
            lines_of_peers: Lines::of_peers(),
            stopping: AtomicBool::new(false),
            tool: OnceLock::new(),
        })
    }

    /// The backup tool, looked for until there is one.
    fn tool(&self) -> Result<&BackupTool> {
        if let Some(tool) = self.tool.get() {
            return Ok(tool);
        }
        let tool = BackupTool::find()?;
        Ok(self.tool.get_or_init(|| {
            tell_uncounted_options(&tool);
            tool
        }))
    }
}

/// The right to serve a clone, and while it is held the status says that one is served.
pub struct Turn {
    status: Arc<Status>,
    _permit: OwnedSemaphorePermit,
}

impl Turn {
    /// Where nobody else has it.
    fn take(donor: &Donor) -> Option<Turn> {
        let permit = donor.turn.clone().try_acquire_owned().ok()?;
        donor.status.donates(true);
        Some(Turn { status: donor.status.clone(), _permit: permit })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.status.donates(false);
    }
}

/// The port that clones are served on.
pub struct ClonePort {
    listener: Listener,
    set_aside: Option<SetAside>,
}

impl ClonePort {
    /// Binds it; nobody is answered yet.
    pub fn open(address: SocketAddr) -> Result<ClonePort> {
        let listener = Listener::open(address)
            .with_context(|| format!("listening for clones on {address}"))
            .map_err(|error| Reason::Listen.because(error))?;
        let set_aside = SetAside::by(&listener.socket);
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
                // Those that were accepted have their turn first, and those that were cut end: a runtime with one thread calls
                // its first future more often than it comes through its other tasks, and they would become ever more.
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

/// Once, when the server first answers.
async fn end_orphans(donor: Arc<Donor>) {
    while let Err(error) = tool_sessions::end_orphans(&donor.settings.server, &donor.settings.backup).await {
        debug!("looking for sessions of an earlier backup tool: {error:#}");
        tokio::time::sleep(ORPHANS_PAUSE).await;
    }
}

fn tell_unsaid(donor: &Donor) {
    let unsaid = donor.lines.take_unsaid() + donor.lines_of_peers.take_unsaid();
    if unsaid > 0 {
        info!(
            DonorStrangers,
            connections = unsaid,
            "more connections were refused or brought no request, without a line for each"
        );
    }
}

/// Nobody waits to be accepted.
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
                warn!(DonorAcceptFailed, %error, "accepting a connection failed");
            }
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}

async fn drain(donor: &Donor, mut sessions: JoinSet<()>) {
    donor.stopping.store(true, Ordering::Relaxed);
    match donor.turn.try_acquire() {
        // Nobody gets a turn any more: a tool that started now would outlive us.
        Ok(turn) => return turn.forget(),
        Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => {}
    }
    let limit = donor.settings.drain_timeout;
    info!(DonorDraining, limit_seconds = limit.as_secs(), "letting the running clone finish");
    let finished = async {
        if let Ok(turn) = donor.turn.acquire().await {
            turn.forget();
        }
    };
    if tokio::time::timeout(limit, finished).await.is_err() {
        warn!(DonorCloneCut, "the running clone did not finish in time and is broken off");
    }
    sessions.detach_all();
}

/// Once: whoever wrote them expects them to count.
fn tell_uncounted_options(tool: &BackupTool) {
    match tool.uncounted_options() {
        Ok(options) if options.is_empty() => {}
        Ok(options) => info!(
            BackupOptionsIgnored,
            options = options.join(", "),
            "options files of this container name options that do not count for clones: the backup tool reads only what the \
             running server says"
        ),
        Err(error) => debug!("which options of the backup tool's own files do not count is not known: {error:#}"),
    }
}

fn announce(donor: &Donor) {
    if donor.settings.donate_unproven_stream {
        warn!(
            DonorUnprovenAllowed,
            "a peer that says nothing, such as the tutorial's `ncat --recv-only`, is sent the whole database, with nothing \
             by which it could tell that it is whole (--donate-unproven-stream-to-anyone)"
        );
    }
    match (&donor.settings.peering.secret, donor.settings.donate_to_anyone) {
        (Some(_), _) => {
            info!(DonorServing, address = %donor.settings.clone_listen, "serving clones to who knows the secret")
        }
        (None, true) => warn!(
            DonorServingAnyone,
            address = %donor.settings.clone_listen,
            "serving clones to ANYONE who reaches this port (--donate-to-anyone); set a clone secret to close it"
        ),
        (None, false) => warn!(
            DonorServingNobody,
            "serving no clones: set a clone secret (MYSQLSET_CLONE_SECRET_FILE or MYSQLSET_CLONE_SECRET), \
             or say --donate-to-anyone"
        ),
    }
}

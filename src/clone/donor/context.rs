//! All that serving a clone needs, and the slot: the right to serve one.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use anyhow::Result;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::debug;

use super::answers::Answers;
use super::guesses::Guesses;
use super::lines::Lines;
use super::waiting::Waiting;
use crate::clone::method::backup_tool::BackupTool;
use crate::model::event::info;
use crate::observe::metrics::Metrics;
use crate::observe::status::Status;
use crate::settings::Sidecar;
use crate::sys::connection_limit::Places;

/// And of peers that have proven themselves, but for the one that holds the turn. A pod that was taken over knows the secret.
const PROVEN: usize = 128;

/// All that serving a clone needs.
pub struct Donor {
    pub(in crate::clone) settings: Arc<Sidecar>,
    pub(in crate::clone) status: Arc<Status>,
    pub(in crate::clone) metrics: Arc<Metrics>,
    pub(in crate::clone) scratch: PathBuf,
    /// One permit: one clone at a time.
    pub(super) turn: Arc<Semaphore>,
    pub(super) guesses: Guesses,
    pub(super) answers: Answers,
    pub(super) waiting: Arc<Waiting>,
    pub(super) proven: Arc<Places>,
    /// About strangers.
    pub(super) lines: Lines,
    /// About peers that have proven themselves.
    pub(super) lines_of_peers: Lines,
    pub(super) stopping: AtomicBool,
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
    pub(super) fn tool(&self) -> Result<&BackupTool> {
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
    pub(super) fn take(donor: &Donor) -> Option<Turn> {
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

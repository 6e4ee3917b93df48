//! The donor's shared state, and the slot: the right to serve a clone.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use anyhow::Result;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::debug;

use super::answers::Answers;
use super::lines::Lines;
use super::waiting::Waiting;
use super::wrong_secrets::Guesses;
use crate::clone::method::backup_tool::BackupTool;
use crate::model::event::info;
use crate::observe::metrics::Metrics;
use crate::observe::status::Status;
use crate::settings::Sidecar;
use crate::sys::connection_limit::Places;

/// Connections of proven peers at once, besides the one that holds the slot. A compromised pod knows the secret.
const PROVEN: usize = 128;

/// The donor's settings and its shared state.
pub struct Donor {
    pub(in crate::clone) settings: Arc<Sidecar>,
    pub(in crate::clone) status: Arc<Status>,
    pub(in crate::clone) metrics: Arc<Metrics>,
    pub(in crate::clone) scratch: PathBuf,
    /// The donor slot: one permit, one clone at a time.
    pub(super) free_slot: Arc<Semaphore>,
    pub(super) guesses: Guesses,
    pub(super) answers: Answers,
    pub(super) waiting: Arc<Waiting>,
    pub(super) proven: Arc<Places>,
    /// Limits the lines about strangers.
    pub(super) lines: Lines,
    /// Limits the lines about proven peers.
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
            free_slot: Arc::new(Semaphore::new(1)),
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

    /// The backup tool, searched for until one is found.
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

/// The donor slot. While it is held, the status reports a running clone.
pub struct Slot {
    status: Arc<Status>,
    _permit: OwnedSemaphorePermit,
}

impl Slot {
    /// Takes the slot if it is free.
    pub(super) fn take(donor: &Donor) -> Option<Slot> {
        let permit = donor.free_slot.clone().try_acquire_owned().ok()?;
        donor.status.donates(true);
        Some(Slot { status: donor.status.clone(), _permit: permit })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.status.donates(false);
    }
}

/// Tells once that the tool ignores these options: their author expects them to count.
fn tell_uncounted_options(tool: &BackupTool) {
    match tool.uncounted_options() {
        Ok(options) if options.is_empty() => {}
        Ok(options) => info!(
            BackupOptionsIgnored,
            options = options.join(", "),
            "ignoring backup options in this container's option files: for clones the backup tool gets the running server's \
             settings only"
        ),
        Err(error) => debug!("cannot tell which options in the backup tool's option files are ignored: {error:#}"),
    }
}

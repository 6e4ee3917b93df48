//! Why a source turns replication away, where the server's receiver does not say it: the sidecar logs in as the same account.
//!
//! MariaDB's receiver says "error reconnecting", with no number, where `init_connect` fails for its account. It names the
//! password and what else it meets at the login itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::mysql::status::{ReplicationStatus, Thread};
use crate::mysql::{Server, TurnedAway};
use crate::settings::Sidecar;

/// A receiver that is not connected after so long may have been turned away.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two tries.
const PERIOD: Duration = Duration::from_secs(30);

/// The latest try.
#[derive(Default)]
pub struct OwnLogin {
    unconnected: Option<Instant>,
    trying: Option<JoinHandle<Option<(u32, String)>>>,
    tried: Option<Instant>,
    /// The error's number and words.
    found: Option<(u32, String)>,
}

impl OwnLogin {
    /// Puts the reason into the receiver's status, where the receiver has none and the source does.
    pub async fn explain(&mut self, replication: &mut ReplicationStatus, settings: &Arc<Sidecar>) {
        if replication.receiver != Thread::Connecting || replication.refusal().is_some() {
            if let Some(trying) = self.trying.take() {
                trying.abort();
            }
            *self = OwnLogin::default();
            return;
        }
        if self.unconnected.get_or_insert_with(Instant::now).elapsed() < PATIENCE {
            return;
        }
        if let Some(trying) = self.trying.take_if(|trying| trying.is_finished()) {
            self.found = trying.await.ok().flatten();
        }
        if self.trying.is_none() && self.tried.is_none_or(|at| at.elapsed() >= PERIOD) {
            (self.tried, self.trying) = (Some(Instant::now()), Some(tokio::spawn(log_in(settings.clone()))));
        }
        if let Some((code, text)) = &self.found {
            (replication.receiver_error, replication.receiver_error_text) = (*code, text.clone());
        }
    }
}

/// What the source refuses the account with; `None` where it is let in, or nobody answers.
async fn log_in(settings: Arc<Sidecar>) -> Option<(u32, String)> {
    match Server::connect(&settings.source, &settings.replication).await {
        Ok(source) => {
            source.close().await;
            None
        }
        Err(error) => {
            let away = error.downcast_ref::<TurnedAway>()?;
            // The remedy is said with every refusal.
            let (text, remedy) = (away.to_string(), format!(": {}", away.refusal?.remedy()));
            Some((away.code?.into(), text.strip_suffix(&remedy).unwrap_or(&text).to_owned()))
        }
    }
}

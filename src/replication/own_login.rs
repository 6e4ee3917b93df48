//! Whether `init_connect` fails for the account of replication: MariaDB's receiver does not say so. It is let in, ends at its
//! first statement, and tries again, with "error reconnecting" and no number. So the sidecar logs in as the same account.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::server::refusal::Refusal;
use crate::server::status::{ReplicationStatus, Thread};
use crate::server::{Server, TurnedAway};
use crate::settings::Sidecar;

/// A receiver that is not connected after so long may have been turned away.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two tries.
const PERIOD: Duration = Duration::from_secs(30);

/// What the receiver's status has then: no number, or ER_SLAVE_MASTER_COM_FAILURE.
const NUMBERS: [u32; 2] = [0, 1597];

/// The latest try.
#[derive(Default)]
pub struct OwnLogin {
    unconnected: Option<Instant>,
    trying: Option<JoinHandle<Option<(u32, String)>>>,
    tried: Option<Instant>,
    /// The error's number and words, and when it came.
    found: Option<(u32, String, Instant)>,
}

impl OwnLogin {
    /// Puts the reason into the receiver's status, where the receiver has none and the source does.
    pub async fn explain(&mut self, replication: &mut ReplicationStatus, settings: &Arc<Sidecar>) {
        let is_ours = replication.follows(&settings.source, &settings.replication.user);
        let says_nothing = NUMBERS.contains(&replication.receiver_error) && replication.refusal().is_none();
        if !is_ours || replication.receiver != Thread::Connecting || !says_nothing {
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
            self.found = trying.await.ok().flatten().map(|(code, text)| (code, text, Instant::now()));
        }
        if self.trying.is_none() && self.tried.is_none_or(|at| at.elapsed() >= PERIOD) {
            (self.tried, self.trying) = (Some(Instant::now()), Some(tokio::spawn(log_in(settings.clone()))));
        }
        self.found.take_if(|(.., at)| at.elapsed() > 2 * PERIOD);
        if let Some((code, text, _)) = &self.found {
            (replication.receiver_error, replication.receiver_error_text) = (*code, text.clone());
        }
    }
}

/// How init_connect fails; `None` where it does not, or nobody answers.
async fn log_in(settings: Arc<Sidecar>) -> Option<(u32, String)> {
    match Server::connect(&settings.source, &settings.replication).await {
        Ok(source) => {
            source.close().await;
            None
        }
        Err(error) => {
            let away = error.downcast_ref::<TurnedAway>()?;
            // The remedy is said with every refusal.
            let refusal = away.refusal.filter(|refusal| *refusal == Refusal::InitConnect)?;
            let (text, remedy) = (away.to_string(), format!(": {}", refusal.remedy()));
            Some((away.code?.into(), text.strip_suffix(&remedy).unwrap_or(&text).to_owned()))
        }
    }
}

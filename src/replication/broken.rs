//! Recognises broken replication: replication that waiting cannot mend.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::time::timeout;

use super::fatal_error;
use crate::clone::connection::{self, Questions};
use crate::datadir::journal::{BrokenReplication, Why, now};
use crate::model::position::Position;
use crate::protocol::message::Report;
use crate::protocol::verdict::Verdict;
use crate::server::Server;
use crate::server::history::{self, Progress};
use crate::server::status::{ReplicationStatus, Thread};
use crate::settings::Sidecar;

/// The primary's sidecar must answer within this time, since the server goes unwatched meanwhile.
const PATIENCE: Duration = Duration::from_secs(3);

/// ER_MASTER_INFO, ER_SLAVE_RELAY_LOG_READ_FAILURE, ER_SLAVE_MI_INIT_REPOSITORY and ER_SLAVE_RLI_INIT_REPOSITORY.
/// MySQL's log has these since 8.0: ER_REPLICA_RELAY_LOG_READ_FAILURE, ER_SERVER_REPLICA_CM_INIT_REPOSITORY and
/// …_AM_INIT_REPOSITORY. (`perror` of 9.7)
pub const RELAY_LOGS_LOST: [u32; 7] = [1201, 1594, 1871, 1872, 13121, 13123, 13124];

/// Why replication is broken, where it is.
pub fn why_it_cannot_go_on(status: &ReplicationStatus) -> Option<Why> {
    if status.receiver == Thread::Stopped
        && let Some(why) = fatal_error::cause(status.receiver_error, &status.receiver_error_text)
    {
        return Some(why);
    }
    if status.applier == Thread::Stopped && RELAY_LOGS_LOST.contains(&status.applier_error) {
        return Some(Why::RelayLogsLost);
    }
    None
}

/// Collects what the journal keeps about broken replication. That includes what the data hold: the source also says
/// "purged" to a replica that is ahead of it. The data of such a replica may be all that is left of what the source has
/// lost. So the primary's sidecar is asked too.
pub async fn describe(
    why: Why,
    server: &mut Server,
    status: &ReplicationStatus,
    settings: &Arc<Sidecar>,
) -> Result<BrokenReplication> {
    let Progress { applied, fetched } = history::progress(server, Some(status)).await?;
    let reached: Vec<Position> = applied.iter().cloned().chain(fetched).collect();
    let history = history::own_history(server).await?;
    let why = match why {
        Why::SourcePurged | Why::AheadOfSource => {
            let questions = Questions { about: applied, history: Some(history.clone()) };
            refined(why, &reached, ask_primary(settings, questions).await.as_ref())
        }
        other => other,
    };
    Ok(BrokenReplication { why, text: status.error.clone().unwrap_or_default(), since: now(), reached, history })
}

/// The report of the primary's sidecar takes precedence over the text of its server.
fn refined(why: Why, reached: &[Position], primary: Option<&Report>) -> Why {
    let Some(primary) = primary else { return why };
    let covers = |position: &Position| primary.applied.as_ref().and_then(|there| there.covers(position));
    let lacks_some = reached.iter().any(|position| covers(position) == Some(false));
    let knows_all = primary.has_history() == Verdict::Yes;
    let is_purged = matches!(primary.can_be_followed(), Verdict::No(_));
    match (lacks_some, knows_all, is_purged) {
        (true, ..) => Why::AheadOfSource,
        (false, true, true) if reached.iter().all(|position| covers(position) == Some(true)) => Why::SourcePurged,
        _ => why,
    }
}

/// Asks the primary's sidecar; `None` after a missing or late answer.
pub async fn ask_primary(settings: &Arc<Sidecar>, questions: Questions) -> Option<Report> {
    let primary = settings.primary.clone()?;
    let settings = settings.clone();
    let asking = tokio::task::spawn_blocking(move || {
        connection::ask_primary(&settings.member, &settings.peering, &primary, &questions).ok()
    });
    timeout(PATIENCE, asking).await.ok()?.ok()?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purged_source_differs_from_an_absent_one() {
        let mut status = ReplicationStatus { applier: Thread::Running, receiver_error: 1236, ..Default::default() };
        status.receiver_error_text = "… 'Could not find first log file name in binary log index file'".into();
        assert_eq!(why_it_cannot_go_on(&status), Some(Why::SourcePurged));
        status.receiver_error = 2003;
        assert_eq!(why_it_cannot_go_on(&status), None);
        // The number stays until the receiver has made progress.
        (status.receiver, status.receiver_error) = (Thread::Running, 1236);
        assert_eq!(why_it_cannot_go_on(&status), None);
        (status.applier, status.applier_error) = (Thread::Stopped, 1594);
        assert_eq!(why_it_cannot_go_on(&status), Some(Why::RelayLogsLost));
        // A missing row is another fault: the relay log itself was readable.
        status.applier_error = 1032;
        assert_eq!(why_it_cannot_go_on(&status), None);
    }
}

//! Replication that can't go on by itself, however long one waits.

use anyhow::Result;

use crate::datadir::journal::{BrokenReplication, Why, now};
use crate::mysql::Server;
use crate::mysql::history::{self, Progress};
use crate::mysql::status::{ReplicationStatus, Thread};

/// ER_MASTER_FATAL_ERROR_READING_BINLOG, and MySQL's ER_SERVER_MASTER_FATAL_ERROR_READING_BINLOG as its log has it.
const SOURCE_CANNOT_GIVE: [u32; 2] = [1236, 13114];

/// ER_MASTER_INFO, ER_SLAVE_RELAY_LOG_READ_FAILURE, ER_SLAVE_MI_INIT_REPOSITORY, ER_SLAVE_RLI_INIT_REPOSITORY, and
/// MySQL's ER_RPL_RELAY_LOG_… of later series.
pub const RELAY_LOGS_LOST: [u32; 6] = [1201, 1594, 1871, 1872, 13117, 13121];

/// Why replication can't go on, where it can't.
pub fn why_it_cannot_go_on(status: &ReplicationStatus) -> Option<Why> {
    if status.receiver == Thread::Stopped && SOURCE_CANNOT_GIVE.contains(&status.receiver_error) {
        return Some(Why::SourcePurged);
    }
    if status.applier == Thread::Stopped && RELAY_LOGS_LOST.contains(&status.applier_error) {
        return Some(Why::RelayLogsLost);
    }
    None
}

/// All that the journal keeps of it. What the data hold is part of it: the source also says "purged" to a replica that
/// is further than itself, whose data may be all that is left of what it has lost.
pub async fn describe(why: Why, server: &mut Server, status: &ReplicationStatus) -> Result<BrokenReplication> {
    let Progress { applied, fetched } = history::progress(server, Some(status)).await?;
    Ok(BrokenReplication {
        why,
        text: status.error.clone().unwrap_or_default(),
        since: now(),
        reached: applied.into_iter().chain(fetched).collect(),
        history: history::own_history(server).await?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purged_source_is_told_from_one_that_is_away() {
        let mut status = ReplicationStatus { applier: Thread::Running, receiver_error: 1236, ..Default::default() };
        status.error = Some("error 1236: could not find".into());
        assert_eq!(why_it_cannot_go_on(&status), Some(Why::SourcePurged));
        status.receiver_error = 2003;
        assert_eq!(why_it_cannot_go_on(&status), None);
        // The number stays until the receiver has got further.
        (status.receiver, status.receiver_error) = (Thread::Running, 1236);
        assert_eq!(why_it_cannot_go_on(&status), None);
        (status.applier, status.applier_error) = (Thread::Stopped, 1594);
        assert_eq!(why_it_cannot_go_on(&status), Some(Why::RelayLogsLost));
        // That a row is missing is another matter: what was read could be read.
        status.applier_error = 1032;
        assert_eq!(why_it_cannot_go_on(&status), None);
    }
}

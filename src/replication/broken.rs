//! Replication that can't go on by itself, however long one waits.

use crate::datadir::journal::{BrokenReplication, Why, now};
use crate::mysql::status::{ReplicationStatus, Thread};

/// ER_MASTER_FATAL_ERROR_READING_BINLOG, and MySQL's ER_SERVER_MASTER_FATAL_ERROR_READING_BINLOG as its log has it.
const SOURCE_CANNOT_GIVE: [u32; 2] = [1236, 13114];

/// ER_MASTER_INFO, ER_SLAVE_RELAY_LOG_READ_FAILURE, ER_SLAVE_MI_INIT_REPOSITORY, ER_SLAVE_RLI_INIT_REPOSITORY, and
/// MySQL's ER_RPL_RELAY_LOG_… of later series.
const RELAY_LOGS_LOST: [u32; 6] = [1201, 1594, 1871, 1872, 13117, 13121];

/// Why replication can't go on, where it can't.
pub fn why_it_cannot_go_on(status: &ReplicationStatus) -> Option<BrokenReplication> {
    let broken = |why, error: Option<&String>| {
        let text = error.cloned().unwrap_or_default();
        Some(BrokenReplication { why, text, since: now() })
    };
    if status.receiver == Thread::Stopped && SOURCE_CANNOT_GIVE.contains(&status.receiver_error) {
        return broken(Why::SourcePurged, status.error.as_ref());
    }
    if status.applier == Thread::Stopped && RELAY_LOGS_LOST.contains(&status.applier_error) {
        return broken(Why::RelayLogsLost, status.error.as_ref());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purged_source_is_told_from_one_that_is_away() {
        let mut status = ReplicationStatus { applier: Thread::Running, receiver_error: 1236, ..Default::default() };
        status.error = Some("error 1236: could not find".into());
        assert_eq!(why_it_cannot_go_on(&status).unwrap().why, Why::SourcePurged);
        status.receiver_error = 2003;
        assert_eq!(why_it_cannot_go_on(&status), None);
        // The number stays until the receiver has got further.
        (status.receiver, status.receiver_error) = (Thread::Running, 1236);
        assert_eq!(why_it_cannot_go_on(&status), None);
        (status.applier, status.applier_error) = (Thread::Stopped, 1594);
        assert_eq!(why_it_cannot_go_on(&status).unwrap().why, Why::RelayLogsLost);
        // That a row is missing is another matter: what was read could be read.
        status.applier_error = 1032;
        assert_eq!(why_it_cannot_go_on(&status), None);
    }
}

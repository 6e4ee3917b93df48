//! An applier that waits for a replica of this replica to acknowledge what it applied. There is none, so with the source's
//! side of semi-synchronous replication switched on here nothing is applied until the server's own timeout, and replication
//! says all the while that it runs.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::model::event::{Cause, Event, warn};
use crate::server::Server;
use crate::server::status::{ReplicationStatus, Thread};

/// The applier that waits.
#[derive(Debug, Default)]
pub struct Unacknowledged {
    since: Option<Instant>,
}

impl Unacknowledged {
    /// Looks at the applier, where it has something to apply. Returns why it waits, where it does, and whether for longer than `limit`.
    pub async fn look(
        &mut self,
        server: &mut Server,
        replication: Option<&ReplicationStatus>,
        limit: Duration,
    ) -> Result<Option<(Cause, bool)>> {
        let is_behind = replication.is_some_and(|status| {
            status.applier == Thread::Running
                && (&status.applied_file, status.applied_offset) != (&status.fetched_file, status.fetched_offset)
        });
        if !is_behind || !server.waits_for_missing_replicas().await? {
            self.since = None;
            return Ok(None);
        }
        let cause = Event::ReplicationUnacknowledged.because(
            "the applier waits for a replica of this replica to acknowledge a transaction: semi-synchronous replication is on \
             here for a source. Switch it off in replica.cnf and at once, with SET GLOBAL rpl_semi_sync_source_enabled = OFF \
             (rpl_semi_sync_master_enabled on MariaDB, and on MySQL before 8.0.26)",
        );
        if self.since.is_none() {
            warn!(ReplicationUnacknowledged, "{cause}");
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        Ok(Some((cause, since.elapsed() >= limit)))
    }
}

//! Follows an applier that stopped with an error until it has applied beyond that place.
//!
//! For a moment after a restart, both threads of a faulty replica run before the applier stops again. So its readiness
//! and its clones must rest on more than one good look. A retry within the server (`slave_transaction_retries`) is no
//! fault: the applier goes on.

use anyhow::Result;

use super::broken::RELAY_LOGS_LOST;
use crate::datadir::journal::ApplierFault;
use crate::model::position::Position;
use crate::server::Server;
use crate::server::history;
use crate::server::status::{ReplicationStatus, Thread};

/// What a look at replication changes in a known fault.
#[derive(Debug, PartialEq)]
pub enum Change {
    /// The applier stopped with an error, at a new place or with more details than before.
    Stopped(ApplierFault),
    /// The applier has gone beyond the place.
    Passed,
}

/// Compares the known fault with the server's status.
pub async fn look(
    known: Option<&ApplierFault>,
    server: &mut Server,
    status: &ReplicationStatus,
) -> Result<Option<Change>> {
    if known.is_none() && !has_stopped(status) {
        return Ok(None);
    }
    let applied = history::progress(server, Some(status)).await?.applied;
    Ok(applied.and_then(|applied| change_of(known, status, &applied)))
}

fn has_stopped(status: &ReplicationStatus) -> bool {
    // Lost relay logs leave the data intact.
    let is_about_data = status.applier_error != 0 && !RELAY_LOGS_LOST.contains(&status.applier_error);
    status.applier == Thread::Stopped && is_about_data
}

fn change_of(known: Option<&ApplierFault>, status: &ReplicationStatus, applied: &Position) -> Option<Change> {
    let fetched = &status.fetched_gtid;
    // A replica that starts by file and offset may continue by GTID; the server knows both.
    let by_file = Position::BinlogFile { file: status.applied_file.clone(), offset: status.applied_offset };
    let is_passed = known.is_some_and(|fault| match fault.stopped_at {
        Position::BinlogFile { .. } => fault.is_passed(&by_file, fetched),
        _ => fault.is_passed(applied, fetched),
    });
    if !has_stopped(status) {
        return is_passed.then_some(Change::Passed);
    }
    let (number, text) = (status.applier_error, status.applier_error_text.clone());
    if known.is_some_and(|known| is_passed && (known.number, &known.text) == (number, &text)) {
        // The transaction was skipped by hand: the server shows the error until the applier starts again.
        return None;
    }
    // A MariaDB server that replicates by file and offset has no GTID that would show its progress.
    let goes_by_file = !status.by_gtid && matches!(applied, Position::MariadbGtid { .. });
    let place = if goes_by_file { by_file } else { applied.clone() };
    let mut fault = ApplierFault::new(number, text, place, fetched.clone());
    if let Some(known) = known.filter(|_| !is_passed) {
        // The place is the same, but the error text may have changed, and the receiver may have fetched more of the
        // failed transaction.
        (fault.since, fault.stopped_at) = (known.since, known.stopped_at.clone());
        fault.fetched_gtid = known.fetched_gtid.clone();
        fault.transaction = fault.transaction.or_else(|| known.transaction.clone());
    }
    (known != Some(&fault)).then_some(Change::Stopped(fault))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(applier: Thread, number: u32, fetched: &str) -> ReplicationStatus {
        ReplicationStatus {
            receiver: Thread::Running,
            applier,
            applier_error: number,
            applier_error_text: format!("text {number}"),
            fetched_gtid: fetched.to_owned(),
            by_gtid: true,
            ..ReplicationStatus::default()
        }
    }

    fn at(slave_pos: &str) -> Position {
        Position::MariadbGtid { slave_pos: slave_pos.to_owned() }
    }

    #[test]
    fn a_fault_lasts_until_the_applier_passes_it() {
        let stopped = status(Thread::Stopped, 1062, "0-100-9");
        let Some(Change::Stopped(first)) = change_of(None, &stopped, &at("0-100-7")) else { panic!() };
        assert_eq!((first.number, &first.stopped_at), (1062, &at("0-100-7")));
        assert_eq!(change_of(Some(&first), &stopped, &at("0-100-7")), None, "the fault is written once");
        // Started again, by hand or with the server: both threads run, and the error is forgotten.
        let running = status(Thread::Running, 0, "0-100-9");
        assert_eq!(change_of(Some(&first), &running, &at("0-100-7")), None);
        assert_eq!(change_of(Some(&first), &running, &at("0-100-8")), Some(Change::Passed));
        // Stopped by hand without an error, before and beyond the place.
        let by_hand = status(Thread::Stopped, 0, "0-100-9");
        assert_eq!(change_of(Some(&first), &by_hand, &at("0-100-7")), None);
        assert_eq!(change_of(Some(&first), &by_hand, &at("0-100-8")), Some(Change::Passed));
    }

    #[test]
    fn another_error_is_a_new_place_only_beyond_the_first() {
        let Some(Change::Stopped(mut first)) =
            change_of(None, &status(Thread::Stopped, 1205, "0-100-9"), &at("0-100-7"))
        else {
            panic!()
        };
        first.since = 1;
        let again = status(Thread::Stopped, 1062, "0-100-20");
        let Some(Change::Stopped(second)) = change_of(Some(&first), &again, &at("0-100-7")) else { panic!() };
        assert_eq!((second.number, second.since, &second.stopped_at), (1062, 1, &first.stopped_at));
        assert_eq!(second.fetched_gtid, "0-100-9");
        let beyond = status(Thread::Stopped, 1032, "0-100-20");
        let Some(Change::Stopped(third)) = change_of(Some(&second), &beyond, &at("0-100-12")) else { panic!() };
        assert_eq!((third.number, &third.stopped_at), (1032, &at("0-100-12")));
        assert!(third.since > 1);
    }

    /// The server shows its last error until the applier is started again.
    #[test]
    fn a_place_skipped_by_hand_stays_known_while_the_applier_is_stopped() {
        let stopped = status(Thread::Stopped, 1062, "0-100-9");
        let Some(Change::Stopped(first)) = change_of(None, &stopped, &at("0-100-7")) else { panic!() };
        assert_eq!(change_of(Some(&first), &stopped, &at("0-100-8")), None);
        let running = status(Thread::Running, 0, "0-100-9");
        assert_eq!(change_of(Some(&first), &running, &at("0-100-8")), Some(Change::Passed));
    }

    #[test]
    fn a_mariadb_server_that_goes_by_file_is_followed_by_file() {
        let mut stopped = ReplicationStatus { by_gtid: false, ..status(Thread::Stopped, 1062, "") };
        (stopped.applied_file, stopped.applied_offset) = ("mysql-bin.000002".into(), 500);
        let Some(Change::Stopped(fault)) = change_of(None, &stopped, &at("0-100-7")) else { panic!() };
        let running =
            ReplicationStatus { applier: Thread::Running, applier_error: 0, applied_offset: 900, ..stopped.clone() };
        assert_eq!(change_of(Some(&fault), &running, &at("0-100-7")), Some(Change::Passed));
    }

    #[test]
    fn lost_relay_logs_are_no_fault_of_the_data() {
        assert_eq!(change_of(None, &status(Thread::Stopped, 1594, "0-100-9"), &at("0-100-7")), None);
    }

    #[test]
    fn a_retry_by_the_server_is_no_fault() {
        for number in [1205, 1213] {
            assert_eq!(change_of(None, &status(Thread::Running, number, "0-100-9"), &at("0-100-7")), None);
        }
    }

    #[test]
    fn a_place_by_file_is_passed_by_file_even_when_gtids_are_known_later() {
        let mut stopped = status(Thread::Stopped, 1062, "");
        (stopped.applied_file, stopped.applied_offset) = ("mysql-bin.000002".into(), 500);
        let place = Position::BinlogFile { file: "mysql-bin.000002".into(), offset: 500 };
        let Some(Change::Stopped(fault)) = change_of(None, &stopped, &place) else { panic!() };
        let mut running = ReplicationStatus { applier: Thread::Running, applier_error: 0, ..stopped };
        assert_eq!(change_of(Some(&fault), &running, &at("0-100-7")), None);
        running.applied_offset = 900;
        assert_eq!(change_of(Some(&fault), &running, &at("0-100-7")), Some(Change::Passed));
    }
}

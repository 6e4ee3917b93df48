//! The place at which a replica's applier stopped with an error.

use serde::{Deserialize, Serialize};

use super::now;
use crate::model::position::Position;
use crate::model::position::history::{mysql_covers, streams_ahead};

/// An applier that stopped at an error. Until it has applied beyond that place, the replica's data differ from the
/// source's, or may. A restart of the server or of the applier forgets the error, and not what it was about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplierFault {
    /// The server's number of the error.
    pub number: u32,
    /// The server's own words, without the statement.
    pub text: String,
    /// When it was first seen, in seconds since 1970.
    pub since: u64,
    /// All that had been applied when it stopped.
    pub stopped_at: Position,
    /// What had been fetched by then, by GTID, where that is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fetched_gtid: String,
    /// The transaction that failed, where the server names it (MySQL's GTID).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<String>,
}

impl ApplierFault {
    /// An error that is seen now for the first time.
    pub fn new(number: u32, text: String, stopped_at: Position, fetched_gtid: String) -> ApplierFault {
        let transaction = transaction_in(&text);
        ApplierFault { number, text, since: now(), stopped_at, fetched_gtid, transaction }
    }

    /// Whether replication has gone beyond the place: by applying what failed, or because somebody had it skipped.
    ///
    /// By GTID: what failed belongs to a stream (MariaDB's domain, MySQL's source) of which more had been fetched than
    /// applied. Each of those must have gone on; one that goes on alone may be another's, or this server's own writes.
    pub fn is_passed(&self, applied: &Position, fetched_gtid: &str) -> bool {
        if let (Some(transaction), Position::MysqlGtid { executed }) = (&self.transaction, applied) {
            return mysql_covers(executed, transaction);
        }
        let Some(gone_on) = streams_ahead(applied, &self.stopped_at) else {
            return self.stopped_at.covers(applied) == Some(false);
        };
        let fetched = |gtid: &str| {
            let fetched = self.stopped_at.of_the_same_kind(gtid.to_owned());
            fetched.and_then(|fetched| streams_ahead(&fetched, &self.stopped_at)).unwrap_or_default()
        };
        let mut concerned = fetched(&self.fetched_gtid);
        if concerned.is_empty() {
            // The applier began with a transaction before all of it was fetched.
            concerned = fetched(fetched_gtid);
        }
        !concerned.is_empty() && concerned.is_subset(&gone_on)
    }
}

/// MySQL's `… Worker 1 failed executing transaction 'UUID:7' at source log …`; without GTIDs it says `ANONYMOUS`.
fn transaction_in(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("failed executing transaction '")?;
    let (transaction, _) = rest.split_once('\'')?;
    transaction.contains(':').then(|| transaction.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "4e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn mariadb(text: &str) -> Position {
        Position::MariadbGtid { slave_pos: text.to_owned() }
    }

    fn mysql(text: &str) -> Position {
        Position::MysqlGtid { executed: text.replace('A', A).replace('B', B) }
    }

    fn fault(text: &str, stopped_at: Position, fetched: &str) -> ApplierFault {
        ApplierFault::new(1062, text.to_owned(), stopped_at, fetched.replace('A', A).replace('B', B))
    }

    #[test]
    fn mariadb_by_the_domains_of_which_more_was_fetched() {
        for (fetched_then, applied, fetched_now, passed) in [
            // At the place, whatever is fetched meanwhile; and one transaction on.
            ("0-100-9", "0-100-7", "0-100-20", false),
            ("0-100-9", "0-100-8", "0-100-20", true),
            // By another primary's number in the same domain.
            ("0-100-9", "0-101-8", "0-101-8", true),
            // What failed had not been fetched to its end: it is what was fetched since.
            ("0-100-7", "0-100-7", "0-100-8", false),
            ("0-100-7", "0-100-8", "0-100-8", true),
            ("", "0-100-8", "", false),
            // Another domain goes on alone.
            ("0-100-9,1-1-3", "0-100-7,1-1-3", "0-100-9,1-1-3", false),
            ("0-100-9,1-1-3", "0-100-8,1-1-3", "0-100-9,1-1-3", true),
            ("0-100-9", "0-100-7,1-1-3", "0-100-9,1-1-3", false),
            // Back before the place.
            ("0-100-9", "0-100-3", "0-100-9", false),
            ("0-100-9", "", "0-100-9", false),
        ] {
            let fault = fault("", mariadb("0-100-7"), fetched_then);
            assert_eq!(fault.is_passed(&mariadb(applied), fetched_now), passed, "{fetched_then:?} {applied:?}");
        }
    }

    #[test]
    fn mysql_by_the_transaction_that_failed_or_the_sources_of_which_more_was_fetched() {
        let words = format!("Worker 1 failed executing transaction '{A}:8' at source log b.000002, end_log_pos 9");
        let named = fault(&words, mysql("A:1-7"), "A:8-9");
        assert_eq!(named.transaction.as_deref(), Some(format!("{A}:8").as_str()));
        for (applied, passed) in [("A:1-7", false), ("A:1-7:9", false), ("A:1-7,B:1-5", false), ("A:1-8,B:1", true)] {
            assert_eq!(named.is_passed(&mysql(applied), ""), passed, "{applied}");
        }
        // This server's own writes, by which a user mends it, are no progress.
        let unnamed = fault("Could not execute Write_rows", mysql("A:1-7"), "A:8-9");
        for (applied, passed) in [("A:1-7,B:1-5", false), ("A:1-8", true), ("A:1-8,B:1", true)] {
            assert_eq!(unnamed.is_passed(&mysql(applied), ""), passed, "{applied}");
        }
        let anonymous = fault("failed executing transaction 'ANONYMOUS' at", mysql("A:1-7"), "");
        assert_eq!(anonymous.transaction, None);
        assert!(!anonymous.is_passed(&mysql("A:1-8"), "") && anonymous.is_passed(&mysql("A:1-8"), &format!("{A}:8")));
    }

    #[test]
    fn by_file_and_offset_where_there_are_no_gtids() {
        let at = |file: &str, offset| Position::BinlogFile { file: file.to_owned(), offset };
        let fault = fault("", at("mysql-bin.000002", 500), "");
        for (applied, passed) in [
            (at("mysql-bin.000002", 500), false),
            (at("mysql-bin.000001", 900), false),
            (at("mysql-bin.000002", 501), true),
            (at("mysql-bin.000003", 4), true),
            // What can't be compared proves nothing.
            (mysql("A:1-9"), false),
            (at("", 0), false),
        ] {
            assert_eq!(fault.is_passed(&applied, ""), passed, "{applied}");
        }
    }
}

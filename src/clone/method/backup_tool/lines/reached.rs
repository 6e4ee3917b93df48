//! How far a recovery came in the backup's own log.
//!
//! XtraBackup recovers twice: the second time, after `New log files created`, it is about log that it wrote itself, whose
//! numbers exceed the backup's even where the backup lacks log. So only the first recovery counts, up to the first
//! `started; log sequence number N`.
//!
//! | tool | words | source |
//! |---|---|---|
//! | mariadb-backup from 10.8 on | `End of log at LSN=N` | seen with 10.11 and 11.8 |
//! | XtraBackup 2.3, 2.4 | the first `started; log sequence number N` | seen with 2.3.5 and 2.4.20 |
//! | XtraBackup from 8.0 on | the last `scanned up to log sequence number N` before it | `recv_scan_log_recs` in log0recv.cc: it stops at the backup's `last_lsn`, and says so where there was anything to recover |
//! | the same, nothing to recover | `The latest found checkpoint is at lsn = N` | `recv_recovery_from_checkpoint_start` |
//!
//! From 8.0 on the number after `started` counts a few bytes that the start itself wrote (seen in a user's log: 10).

use crate::clone::method::backup_tool::Family;

/// What the numbers in a log's blocks are aligned to, and what a block begins with. Where a log ends with a block, a scan
/// says so, and a server names the place after the next block's header (`recv_recovery_from_checkpoint_start` in MySQL).
const BLOCK: u64 = 512;
const BLOCK_HEADER: u64 = 12;

/// The numbers of the first recovery.
#[derive(Debug, Default)]
pub struct Reached {
    end_of_log: Option<u64>,
    checkpoint: Option<u64>,
    scanned: Option<u64>,
    started: Option<u64>,
}

impl Reached {
    /// Takes note of a line.
    pub fn see(&mut self, line: &str) {
        let after = |words: &str| number_after(line, words);
        if let Some(number) = after("End of log at LSN=") {
            self.end_of_log.get_or_insert(number);
        }
        if self.started.is_some() {
            return;
        }
        if let Some(number) = after("scanned up to log sequence number ") {
            self.scanned = self.scanned.max(Some(number));
        }
        if let Some(number) = after("The latest found checkpoint is at lsn = ") {
            self.checkpoint = Some(number);
        }
        self.started = after(" started; log sequence number ");
    }

    /// Where it ended; `None` where that was not said.
    pub fn lsn(&self, family: Family) -> Option<u64> {
        match family {
            Family::Mariadb => self.end_of_log,
            Family::Percona => {
                let exact = self.scanned.map(past_header).or(self.checkpoint);
                self.started.map(|started| exact.map_or(started, |exact| exact.min(started)))
            }
        }
    }
}

fn past_header(number: u64) -> u64 {
    if number.is_multiple_of(BLOCK) { number.saturating_add(BLOCK_HEADER) } else { number }
}

fn number_after(line: &str, words: &str) -> Option<u64> {
    let (_, rest) = line.split_once(words)?;
    rest.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reached(family: Family, lines: &[&str]) -> Option<u64> {
        let mut reached = Reached::default();
        lines.iter().for_each(|line| reached.see(line));
        reached.lsn(family)
    }

    #[test]
    fn mariadbs_end_of_log() {
        let line = "2026-11-24 10:53:15 0 [Note] InnoDB: End of log at LSN=24842282";
        assert_eq!(reached(Family::Mariadb, &[line, "completed OK!"]), Some(24842282));
        let of_10_6 = "[Note] InnoDB: Starting crash recovery from checkpoint LSN=2285952345,2285952345";
        assert_eq!(reached(Family::Mariadb, &[of_10_6]), None);
    }

    #[test]
    fn xtrabackup_2_counts_its_first_start() {
        let second =
            ["InnoDB: New log files created, LSN=10045755", "InnoDB: 5.6.24 started; log sequence number 10045964"];
        for (first, expected) in [
            // Idle, and all of the log lost: nothing is scanned.
            (&["InnoDB: 5.6.24 started; log sequence number 1625977"][..], 1625977),
            (
                &[
                    "InnoDB: Doing recovery: scanned up to log sequence number 9896960 (49%)",
                    "InnoDB: 5.6.24 started; log sequence number 9896950",
                ],
                9896950,
            ),
        ] {
            assert_eq!(reached(Family::Percona, &[first, &second].concat()), Some(expected));
        }
        assert_eq!(
            reached(Family::Percona, &["InnoDB: Doing recovery: scanned up to log sequence number 7 (1%)"]),
            None
        );
    }

    /// Made after the sources and a user's log of 8.0.
    #[test]
    fn xtrabackup_8_counts_what_it_scanned() {
        let checkpoint = "[Note] [MY-013883] [InnoDB] The latest found checkpoint is at lsn = 29430700 in redo log file \
            ./#innodb_redo/#ib_redo0.";
        let scanned = "[Note] [MY-012550] [InnoDB] Doing recovery: scanned up to log sequence number 29430847";
        let started = "[Note] [MY-012976] [InnoDB] 8.0.35 started; log sequence number 29430857";
        let last = "[Note] [MY-012980] [InnoDB] Shutdown completed; log sequence number 29430900";
        assert_eq!(reached(Family::Percona, &[checkpoint, scanned, started, last]), Some(29430847));
        assert_eq!(reached(Family::Percona, &[checkpoint, started, last]), Some(29430700));
        let at_the_end_of_a_block = "Doing recovery: scanned up to log sequence number 29430784";
        assert_eq!(reached(Family::Percona, &[checkpoint, at_the_end_of_a_block, started]), Some(29430796));
        assert_eq!(reached(Family::Percona, &[checkpoint, scanned]), None);
    }
}

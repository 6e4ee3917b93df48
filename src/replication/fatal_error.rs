//! Finds the cause behind a source's fatal error. One error number has many causes, and only the text tells them apart.
//!
//! | text | place |
//! |---|---|
//! | MariaDB | `sql/sql_repl.cc`: `mysql_binlog_send`, `init_binlog_sender`, `gtid_find_binlog_file`, `check_slave_start_position`; `sql/slave.cc`: `get_master_version_and_clock`, `handle_slave_io`; `sql/log.cc`: `log_read_error_msg` |
//! | MySQL | `sql/rpl_binlog_sender.cc`: `init`, `check_start_file`, `read_event`, `run`; `sql/rpl_replica.cc`: `get_source_version_and_clock`, `get_source_uuid`, `handle_slave_io`; `sql/binlog_reader.h`: `Binlog_read_error`; `share/messages_to_clients.txt`: 1789, 1885 |
//!
//! They were compared with the texts in the programs of MariaDB 10.11 and MySQL 9.7.

use crate::datadir::journal::Why;

/// ER_MASTER_FATAL_ERROR_READING_BINLOG, and MySQL's ER_SERVER_MASTER_FATAL_ERROR_READING_BINLOG as its log has it.
const CANNOT_READ_LOG: [u32; 2] = [1236, 13114];

/// ER_SLAVE_FATAL_ERROR, and MySQL's number for it in its log: the receiver ends by itself.
const RECEIVER_ENDS: [u32; 2] = [1593, 13117];

/// ER_NET_PACKET_TOO_LARGE, and MySQL's number for it in its log.
const PACKET_TOO_LARGE: [u32; 2] = [1153, 13125];

/// Parts of texts, in lower case, and the cause.
const TEXTS: [(&str, Why); 23] = [
    // The index lacks the file: it was purged, or the log was restarted under another name.
    ("could not find first log file name in binary log index file", Why::SourcePurged),
    ("could not find gtid state requested by slave", Why::SourcePurged),
    ("purged required binary logs", Why::SourcePurged),
    // MySQL 5.6 and 5.7: `the master has purged binary logs containing GTIDs that the slave requires`
    ("purged binary logs containing gtids", Why::SourcePurged),
    ("more gtids than the", Why::AheadOfSource),
    ("from position > file size", Why::AheadOfSource),
    ("from impossible position", Why::AheadOfSource),
    ("which is not in the master's binlog", Why::AheadOfSource),
    ("slave has probably diverged", Why::AheadOfSource),
    ("is missing the gtid", Why::AheadOfSource),
    ("same server_uuid/server_id", Why::SameServerId),
    ("equal mysql server ids", Why::SameServerId),
    ("equal mysql server uuids", Why::SameServerId),
    ("exceeded max_allowed_packet", Why::PacketTooLarge),
    ("max_allowed_packet (", Why::PacketTooLarge),
    ("bogus data in log event", Why::SourceLogDamaged),
    ("binlog truncated in the middle of event", Why::SourceLogDamaged),
    ("event crc check failed", Why::SourceLogDamaged),
    ("i/o error reading log event", Why::SourceLogDamaged),
    ("could not open log file", Why::SourceLogDamaged),
    ("failed to open log", Why::SourceLogDamaged),
    ("could not find format_description_event", Why::SourceLogDamaged),
    ("unknown error reading log event", Why::SourceLogDamaged),
];

/// Why a receiver that stopped with this error cannot continue by itself. `None` for an error that passes, and for
/// other errors.
pub fn cause(number: u32, text: &str) -> Option<Why> {
    let text = text.to_lowercase();
    let told = TEXTS.iter().find_map(|(part, why)| text.contains(part).then_some(*why));
    match number {
        _ if PACKET_TOO_LARGE.contains(&number) => Some(Why::PacketTooLarge),
        _ if CANNOT_READ_LOG.contains(&number) => Some(told.unwrap_or(Why::SourceRefuses)),
        _ if RECEIVER_ENDS.contains(&number) => told.filter(|why| *why == Why::SameServerId),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_distinguishes_causes_of_one_number() {
        let fatal = |from: &str, text: &str| {
            format!("Got fatal error 1236 from {from} when reading data from binary log: '{text}'")
        };
        for (text, why) in [
            ("Could not find first log file name in binary log index file", Why::SourcePurged),
            (
                "Could not find GTID state requested by slave in any binlog files. Probably the slave state is too old \
                 and required \
                 binlog files have been purged.",
                Why::SourcePurged,
            ),
            (
                "Cannot replicate because the source purged required binary logs. Replicate the missing transactions \
                 from \
                 elsewhere, or provision a new replica from backup.",
                Why::SourcePurged,
            ),
            (
                "The slave is connecting using CHANGE MASTER TO MASTER_AUTO_POSITION = 1, but the master has purged \
                 binary logs \
                 containing GTIDs that the slave requires.",
                Why::SourcePurged,
            ),
            ("Replica has more GTIDs than the source has, using the source's SERVER_UUID.", Why::AheadOfSource),
            ("Slave has more GTIDs than the master has, using the master's SERVER_UUID.", Why::AheadOfSource),
            ("Client requested source to start replication from position > file size", Why::AheadOfSource),
            ("Client requested master to start replication from impossible position", Why::AheadOfSource),
            (
                "Error: connecting slave requested to start from GTID 0-1-9, which is not in the master's binlog",
                Why::AheadOfSource,
            ),
            (
                "Requested slave GTID state not found in binlog. The slave has probably diverged due to executing \
                 erroneous \
                 transactions",
                Why::AheadOfSource,
            ),
            (
                "The binlog on the master is missing the GTID 0-1-9 requested by the slave (even though a subsequent \
                 sequence \
                 number does exist), and GTID strict mode is enabled",
                Why::AheadOfSource,
            ),
            (
                "A slave with the same server_uuid/server_id as this slave has connected to the master; the first \
                 event 'b.000001' \
                 at 4, the last event read from 'b.000001' at 4711, the last byte read from 'b.000001' at 4711.",
                Why::SameServerId,
            ),
            (
                "A replica with the same server_uuid/server_id as this replica has connected to the source",
                Why::SameServerId,
            ),
            (
                "log event entry exceeded max_allowed_packet; Increase max_allowed_packet on source; the first event \
                 'b.000001' at \
                 4",
                Why::PacketTooLarge,
            ),
            (
                "binlog truncated in the middle of event; consider out of disk space on master; the first event",
                Why::SourceLogDamaged,
            ),
            ("bogus data in log event; the first event", Why::SourceLogDamaged),
            ("Event crc check failed! Most likely there is event corruption.", Why::SourceLogDamaged),
            ("Could not open log file", Why::SourceLogDamaged),
            (
                "Replica can not handle replication events with the checksum that source is configured to log",
                Why::SourceRefuses,
            ),
            ("words of a later version", Why::SourceRefuses),
        ] {
            for number in CANNOT_READ_LOG {
                assert_eq!(cause(number, &fatal("source", text)), Some(why), "{number} {text}");
            }
        }
    }

    #[test]
    fn errors_that_end_the_receiver() {
        let packet = "Log entry on master is longer than slave_max_allowed_packet (1073741824) on slave.";
        assert_eq!(cause(1153, packet), Some(Why::PacketTooLarge));
        let ids = "Fatal error: The slave I/O thread stops because master and slave have equal MySQL server ids; these \
                   ids must \
                   be different for replication to work";
        assert_eq!(cause(1593, ids), Some(Why::SameServerId));
        assert_eq!(
            cause(13117, "Fatal error: … have equal MySQL server UUIDs; these UUIDs must be different"),
            Some(Why::SameServerId)
        );
        assert_eq!(
            cause(
                1593,
                "Fatal error: The slave I/O thread stops because a fatal error is encountered when it tried to SET @x"
            ),
            None
        );
        assert_eq!(cause(2003, "can't connect"), None);
    }
}

//! Lines that fail a prepare, and harmless ones that look alike.

use super::*;

const STAMP: &str = "2026-11-29  5:32:07 0";

#[test]
fn lines_that_fail_a_prepare() {
    for (line, fault) in [
        (
            "[Warning] InnoDB: Tablespace 1016 was not found at ./app/t1012.ibd when restoring a (partial?) backup. All \
             redo log for this file will be ignored!",
            Fault::Missing,
        ),
        ("[Warning] InnoDB: Cannot open 'app/t1012.ibd'.", Fault::Io),
        ("[ERROR] InnoDB: Operating system error number 24 in a file operation.", Fault::Descriptors),
        ("[ERROR] InnoDB: Error number 24 means 'Too many open files'", Fault::Descriptors),
        ("[ERROR] InnoDB: File app/t1012.ibd: 'open' returned OS error 224.", Fault::Descriptors),
        ("[ERROR] InnoDB: something new", Fault::Other),
        (
            "[Note] InnoDB: IO Error: 28 during write of 16384 bytes, for file app/t1497.ibd(1509), returned 0",
            Fault::VolumeFull,
        ),
        ("[Note] InnoDB: IO Error: 5 during read of 16384 bytes, for file app/t1.ibd(9), returned 0", Fault::Io),
        ("mariadb-backup: srv_start() returned 37 (Data structure corruption).", Fault::NotStarted),
        (
            "[ERROR] InnoDB: The data file './ibdata1' has the wrong space ID. It should be 0, but 7 was found",
            Fault::Corrupt,
        ),
        ("[ERROR] InnoDB: Unable to apply log to corrupted page 3 in file app/t1.ibd", Fault::Corrupt),
        ("mariabackup: error: The log was only applied up to LSN 5, instead of 7", Fault::Log),
    ] {
        assert_eq!(in_prepare(Family::Mariadb, &format!("{STAMP} {line}")), Some(fault), "{line}");
    }
    for (line, fault) in [
        ("InnoDB: Operating system error number 24 in a file operation.", Fault::Descriptors),
        (
            "InnoDB: Cannot open datafile for read-only: './mysql/slave_relay_log_info.ibd' OS error: 124",
            Fault::Descriptors,
        ),
        ("InnoDB: Operating system error number 28 in a file operation.", Fault::VolumeFull),
        ("InnoDB: Operating system error number 5 in a file operation.", Fault::Io),
        ("InnoDB: Error: could not open single-table tablespace file ./mysql/slave_relay_log_info.ibd", Fault::Missing),
        (
            "InnoDB: We scanned the log up to 1625600. A checkpoint was at 1625977 and the maximum LSN on a database page \
             was 0. It is possible that the database is now corrupt!",
            Fault::Log,
        ),
        (
            "InnoDB: Page [page id: space=23, page number=0] log sequence number 9465671 is in the future! Current system \
             log sequence number 2535577.",
            Fault::Log,
        ),
        ("[Warning] [MY-012111] [InnoDB] Could not find any file associated with the tablespace ID: 5", Fault::Missing),
        ("[ERROR] [MY-011825] [Xtrabackup] The log was not applied to the intended LSN!", Fault::Log),
        ("innodb_init(): Error occured.", Fault::NotStarted),
    ] {
        assert_eq!(in_prepare(Family::Percona, line), Some(fault), "{line}");
    }
}

/// As they came in whole copies, most of them while tables were made, dropped, renamed and altered.
#[test]
fn harmless_lines_that_look_alike() {
    for line in [
        "[Note] InnoDB: At LSN: 6289250: unable to open file ./ddl/#sql-alter-20cc-7.ibd for tablespace 1507",
        "[Note] InnoDB: Ignoring data file './app/r707.ibd' with space ID 711. Another data file called app/t707.ibd \
         exists with the same space ID.",
        "[Note] InnoDB: Tablespace 9 was not found at './app/t9.ibd', but there were no modifications either.",
        "[Warning] InnoDB: Tablespace 1507 was not found at ./ddl/#sql-alter-20cc-7.ibd when restoring a (partial?) \
         backup. All redo log for this file will be ignored!",
        "Removing ./app/t29.ibd",
        "Renaming ./app/t626.new to ./app/t626.ibd",
        "Warning: We assume the  table was dropped during xtrabackup execution and ignore the tablespace ./app/t15.ibd",
        "DDL tracking : create 5 \"./app/error.ibd\"",
        "Skipping ./ddl/#sql-alter-20cc-7.ibd.",
        "Skipping db: ./#binlog_cache_files",
        "[Warning] InnoDB: liburing disabled: falling back to innodb_use_native_aio=OFF",
        "[Warning] mariadb-backup: io_uring_queue_init() failed with errno 1",
        "create_uring failed: falling back to libaio",
        "[Note] InnoDB: End of log at LSN=24842282",
    ] {
        assert_eq!(in_prepare(Family::Mariadb, line), None, "{line}");
    }
    for line in [
        "InnoDB: Operating system error number 2 in a file operation.",
        "InnoDB: The error means the system cannot find the path specified.",
        "xtrabackup: Warning: cannot open ./xtrabackup_logfile. will try to find.",
        "InnoDB: Database was not shutdown normally!",
        "InnoDB: Log scan progressed past the checkpoint lsn 16193548",
        "InnoDB: Warning: allocated tablespace 424, old maximum was 9",
        "[Note] [MY-012560] [InnoDB] The log sequence number 29348668 in the system tablespace does not match the log \
         sequence number 29430847 in the redo log files!",
        "[ERROR] [MY-013140] [Server] a line that no list has",
    ] {
        assert_eq!(in_prepare(Family::Percona, line), None, "{line}");
    }
}

#[test]
fn a_complaint_is_a_known_line() {
    for (line, fault) in [
        (
            "[00] FATAL ERROR: 2026-11-29 05:31:55 Failed to validate first page of the file app/t400, error 61",
            Fault::Corrupt,
        ),
        ("Failed to connect to MySQL server: Access denied for user 'backup'@'127.0.0.1'", Fault::Server),
        ("[01] xtrabackup: Error: failed to copy datafile.", Fault::NotStarted),
        ("xtrabackup: [ERROR] unknown option '--slave-info'.", Fault::Server),
        ("xtrabackup: Error: cannot my_setwd /stage", Fault::Other),
    ] {
        assert_eq!(complaint(Family::Mariadb, line), Some(fault), "{line}");
    }
    for line in [
        "Error in my_thread_global_end(): 1 threads didn't exit",
        "create_uring failed: falling back to libaio",
        "InnoDB: Starting shutdown...",
        "[Warning] InnoDB: native AIO failed: error: falling back",
    ] {
        assert_eq!(complaint(Family::Mariadb, line), None, "{line}");
        assert_eq!(complaint(Family::Percona, line), None, "{line}");
    }
}

#[test]
fn what_is_nearer_to_the_cause_is_the_greater() {
    let ordered =
        [Fault::NotStarted, Fault::Corrupt, Fault::Log, Fault::Io, Fault::Descriptors, Fault::VolumeFull, Fault::Limit];
    assert!(ordered.is_sorted());
    assert_eq!(Fault::VolumeFull.reason(), Reason::DiskFull);
    assert!(Fault::Descriptors.explained("x").contains("soft "));
}

#[test]
fn a_limit_is_a_reason_of_its_own_and_a_pool_without_a_thread_never_ends() {
    let pool = |threads: u32| {
        format!(
            "Warning : threadpool thread could not be created :Resource temporarily unavailable,current number of threads in \
             pool {threads}"
        )
    };
    assert_eq!(in_prepare(Family::Mariadb, &pool(0)), Some(Fault::Limit));
    assert_eq!(in_prepare(Family::Mariadb, &pool(2)), None);
    for line in [&pool(2), "  what():  Resource temporarily unavailable"] {
        let fault = complaint(Family::Mariadb, line).unwrap();
        assert_eq!((fault, fault.reason()), (Fault::Limit, Reason::Limit), "{line}");
        assert!(fault.explained(line).contains("RLIMIT_NPROC"), "{line}");
    }
}

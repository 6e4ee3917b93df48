//! Every form of position file that the tools are known to write, byte for byte.

use super::*;

const UUID_1: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
const UUID_2: &str = "4e11fa47-71ca-11e1-9e33-c80aa9429562";

fn by_file(file: &str, offset: u64) -> Position {
    Position::BinlogFile { file: file.into(), offset }
}

fn mysql(executed: &str) -> Position {
    Position::MysqlGtid { executed: executed.into() }
}

fn mariadb(slave_pos: &str) -> Position {
    Position::MariadbGtid { slave_pos: slave_pos.into() }
}

/// A text with two UUIDs in short.
fn of(text: &str) -> String {
    text.replace("U1", UUID_1).replace("U2", UUID_2)
}

#[test]
fn binlog_info_of_xtrabackup() {
    for (text, position) in [
        // 2.3 and 2.4, gtid_mode off; as recorded.
        ("mysql-bin.000003\t1385\n", by_file("mysql-bin.000003", 1385)),
        // Built for old Percona Servers.
        ("./mysql-bin.000003\t4\n", by_file("mysql-bin.000003", 4)),
        // gtid_mode on: nothing executed yet; one UUID; two, with the server's line break.
        ("mysql-bin.000003\t1575\t\n", by_file("mysql-bin.000003", 1575)),
        ("mysql-bin.000002\t1037\tU1:1-10\n", mysql(&of("U1:1-10"))),
        ("mysql-bin.000002\t1037\tU1:1-10,\nU2:1-2\n", mysql(&of("U1:1-10,U2:1-2"))),
        ("mysql-bin.000002\t1037\tU1:1-10:12,\nU2:1-2\n", mysql(&of("U1:1-10:12,U2:1-2"))),
        // 8.0 and later: on one line; the first columns may be empty; tags since 8.3.
        ("binlog.000002\t1037\n", by_file("binlog.000002", 1037)),
        ("binlog.000002\t1037\tU1:1-10,U2:1-2\n", mysql(&of("U1:1-10,U2:1-2"))),
        ("\t\tU1:1-10\n", mysql(&of("U1:1-10"))),
        ("\t0\tU1:1-10\n", mysql(&of("U1:1-10"))),
        ("binlog.000002\t4\tU1:1-10:blue:1-3:5,U2:green:7\n", mysql(&of("U1:1-10:blue:1-3:5,U2:green:7"))),
    ] {
        for text in [text.to_owned(), text.trim_end_matches('\n').to_owned(), text.replace('\n', "\r\n")] {
            assert_eq!(parse_binlog_info(&of(&text), Writer::XtraBackup).unwrap(), position, "{text:?}");
        }
    }
}

#[test]
fn binlog_info_of_mariadb_backup() {
    for (text, position) in [
        ("mysql-bin.000001\t330\t0-100-7\n", mariadb("0-100-7")),
        ("mysql-bin.000001\t330\t0-1-5,1-2-9\n", mariadb("0-1-5,1-2-9")),
        // No GTID yet: file and offset can be looked up, an empty GTID says nothing.
        ("mysql-bin.000001\t330\t\n", by_file("mysql-bin.000001", 330)),
        ("mysql-bin.000001\t330\n", by_file("mysql-bin.000001", 330)),
        // Some of 10.2 to 10.4 list every log, the current one last.
        ("mysql-bin.000001\t330\t[]\nmysql-bin.000002\t4\t0-1-2\n", mariadb("0-1-2")),
        ("mysql-bin.000001\t330\t[]\nmysql-bin.000002\t4\t\n", by_file("mysql-bin.000002", 4)),
    ] {
        assert_eq!(parse_binlog_info(text, Writer::MariadbBackup).unwrap(), position, "{text:?}");
    }
}

#[test]
fn slave_info_by_file() {
    for text in [
        // XtraBackup 2.3, as recorded; mariadb-backup up to 10.3 writes the same.
        "CHANGE MASTER TO MASTER_LOG_FILE='mysql-bin.000003', MASTER_LOG_POS=1575\n",
        // XtraBackup 2.4 and 8.0, mariadb-backup from 10.6 on.
        "CHANGE MASTER TO MASTER_LOG_FILE='mysql-bin.000003', MASTER_LOG_POS=1575;\n",
        "CHANGE MASTER TO MASTER_LOG_FILE='mysql-bin.000003', MASTER_LOG_POS=1575 FOR CHANNEL '';\n",
        // XtraBackup 8.4 and 9.
        "CHANGE REPLICATION SOURCE TO SOURCE_LOG_FILE='mysql-bin.000003', SOURCE_LOG_POS=1575;\n",
        "CHANGE REPLICATION SOURCE TO SOURCE_LOG_FILE='mysql-bin.000003', SOURCE_LOG_POS=1575 FOR CHANNEL '';\n",
        // What else the statements may look like.
        "change  master to master_log_file = 'mysql-bin.000003',\tmaster_log_pos = 1575 ;",
        "CHANGE MASTER TO MASTER_LOG_FILE='mysql-bin.000003', MASTER_LOG_POS=1575 for  channel '' ;\r\n",
        "CHANGE MASTER TO MASTER_LOG_FILE='mysql-bin.000003', MASTER_LOG_POS=1575, MASTER_AUTO_POSITION=0;\n",
    ] {
        assert_eq!(parse_slave_info(text).unwrap(), by_file("mysql-bin.000003", 1575), "{text}");
    }
    let odd = "CHANGE MASTER TO MASTER_LOG_FILE='my log, or so.000003', MASTER_LOG_POS=4;\n";
    assert_eq!(parse_slave_info(odd).unwrap(), by_file("my log, or so.000003", 4));
}

#[test]
fn slave_info_by_mysql_gtid() {
    for (text, set) in [
        // XtraBackup 2.3: without a `;` at the end.
        ("SET GLOBAL gtid_purged='U1:1-9';\nCHANGE MASTER TO MASTER_AUTO_POSITION=1\n", "U1:1-9"),
        ("SET GLOBAL gtid_purged='U1:1-10, U2:1-2';\nCHANGE MASTER TO MASTER_AUTO_POSITION=1\n", "U1:1-10,U2:1-2"),
        // 2.4: with it. 8.0: the set without spaces.
        ("SET GLOBAL gtid_purged='U1:1-10, U2:1-2';\nCHANGE MASTER TO MASTER_AUTO_POSITION=1;\n", "U1:1-10,U2:1-2"),
        ("SET GLOBAL gtid_purged='U1:1-10,U2:1-2';\nCHANGE MASTER TO MASTER_AUTO_POSITION=1;\n", "U1:1-10,U2:1-2"),
        ("SET GLOBAL gtid_purged='U1:1-10';\nCHANGE MASTER TO MASTER_AUTO_POSITION=1 FOR CHANNEL '';\n", "U1:1-10"),
        // 8.4 and 9, the second with tags.
        (
            "SET GLOBAL gtid_purged='U1:1-10,U2:1-2';\nCHANGE REPLICATION SOURCE TO SOURCE_AUTO_POSITION=1;\n",
            "U1:1-10,U2:1-2",
        ),
        (
            "SET GLOBAL gtid_purged='U1:1-10:blue:1-3:5,U2:green:7';\n\
             CHANGE REPLICATION SOURCE TO SOURCE_AUTO_POSITION=1 FOR CHANNEL '';\n",
            "U1:1-10:blue:1-3:5,U2:green:7",
        ),
        // With the server's line break.
        ("SET GLOBAL gtid_purged='U1:1-10,\nU2:1-2';\nCHANGE MASTER TO MASTER_AUTO_POSITION=1;\n", "U1:1-10,U2:1-2"),
    ] {
        assert_eq!(parse_slave_info(&of(text)).unwrap(), mysql(&of(set)), "{text}");
    }
}

#[test]
fn slave_info_by_mariadb_gtid() {
    for (text, position) in [
        // Up to 10.3; from 10.6 on.
        ("SET GLOBAL gtid_slave_pos = '0-1-1';\nCHANGE MASTER TO master_use_gtid = slave_pos\n", "0-1-1"),
        ("SET GLOBAL gtid_slave_pos = '0-100-9';\nCHANGE MASTER TO master_use_gtid = slave_pos;\n", "0-100-9"),
        ("SET GLOBAL gtid_slave_pos = '0-1-9,1-2-9';\nCHANGE MASTER TO master_use_gtid = slave_pos;\n", "0-1-9,1-2-9"),
        ("SET GLOBAL gtid_slave_pos = '';\nCHANGE MASTER TO master_use_gtid = slave_pos;\n", ""),
    ] {
        assert_eq!(parse_slave_info(text).unwrap(), mariadb(position), "{text}");
    }
}

#[test]
fn more_than_one_source_or_a_named_one_is_refused() {
    for (text, why) in [
        ("CHANGE MASTER 'ch1' TO MASTER_LOG_FILE='f.1', MASTER_LOG_POS=4;\n", "a named connection"),
        (
            "SET GLOBAL gtid_slave_pos = '0-1-1';\nCHANGE MASTER 'a' TO master_use_gtid = slave_pos;\n",
            "a named connection",
        ),
        ("CHANGE MASTER TO MASTER_LOG_FILE='f.1', MASTER_LOG_POS=4 FOR CHANNEL 'x';\n", "a named channel ('x')"),
        ("CHANGE MASTER TO MASTER_LOG_FILE='f.1', MASTER_LOG_POS=4 FOR CHANNEL 'x''';\n", "a named channel"),
        ("CHANGE REPLICATION SOURCE TO SOURCE_LOG_FILE='f.1', SOURCE_LOG_POS=4 FOR CHANNEL 'a, b';\n", "('a, b')"),
        (
            "SET GLOBAL gtid_purged='U1:1-9';\nCHANGE REPLICATION SOURCE TO SOURCE_AUTO_POSITION=1 FOR CHANNEL 'x';\n",
            "a named channel ('x')",
        ),
        (
            "CHANGE MASTER TO MASTER_LOG_FILE='f.1', MASTER_LOG_POS=4;\n\
             CHANGE MASTER TO MASTER_LOG_FILE='g.1', MASTER_LOG_POS=4 FOR CHANNEL 'x';\n",
            "from 2 sources",
        ),
        (
            "SET GLOBAL gtid_purged='U1:1-9';\nCHANGE MASTER TO MASTER_AUTO_POSITION=1 FOR CHANNEL 'x';\n\
             CHANGE MASTER TO MASTER_AUTO_POSITION=1 FOR CHANNEL 'y';\n",
            "from 2 sources",
        ),
        (
            "SET GLOBAL gtid_slave_pos = '0-1-1,1-1-1';\nCHANGE MASTER 'a' TO master_use_gtid = slave_pos;\n\
             CHANGE MASTER 'b' TO master_use_gtid = slave_pos;\nCHANGE MASTER TO master_use_gtid = slave_pos;\n",
            "from 3 sources",
        ),
    ] {
        let error = parse_slave_info(&of(text)).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("mysqlset knows sets with one"), "{text}: {error}");
    }
}

#[test]
fn nonsense_is_refused() {
    for text in [
        "DROP DATABASE mysql;",
        "CHANGE MASTER TO MASTER_LOG_FILE='f.1'",
        "CHANGE MASTER TO MASTER_LOG_POS=4",
        "CHANGE MASTER TO MASTER_LOG_FILE='a'b', MASTER_LOG_POS=4",
        "CHANGE MASTER TO MASTER_LOG_FILE='f.1', MASTER_LOG_POS=-4",
        "CHANGE MASTER TO MASTER_LOG_FILE='f.1', MASTER_LOG_POS=4 5",
        "CHANGE MASTER TO MASTER_LOG_FILE='f.1', MASTER_LOG_POS=4 FOR CHANNEL",
        "CHANGE MASTER TO MASTER_LOG_FILE='f.1', MASTER_LOG_POS=18446744073709551616",
        // Of a replica that has fetched nothing yet.
        "CHANGE MASTER TO MASTER_LOG_FILE='', MASTER_LOG_POS=0;\n",
        "CHANGE MASTER TO MASTER_LOG_FILE='f.1', MASTER_LOG_POS=4, MASTER_AUTO_POSITION=1",
        "CHANGE MASTER TO MASTER_AUTO_POSITION=0",
        "CHANGE MASTER TO MASTER_AUTO_POSITION=1",
        "CHANGE MASTER TO",
        "SET GLOBAL gtid_purged='3e11fa47-71ca-11e1-9e33-c80aa9429562:1-9",
        "SET GLOBAL gtid_purged=''",
        "SET GLOBAL gtid_slave_pos = '0-1-1';\nSET GLOBAL gtid_slave_pos = '0-1-2';\n",
        "SET GLOBAL gtid_slave_pos",
        "",
        "\n",
        "CHANGE MASTER TO MASTER_HOST='evil'",
        "SET GLOBAL gtid_slave_pos = '0-1-1\\'; DROP DATABASE mysql;'",
        "SET GLOBAL read_only = '0'",
        "SET GLOBAL gtid_purged='not-a-uuid:1'",
    ] {
        assert!(parse_slave_info(text).is_err(), "{text}");
    }
    for text in ["", "\n", "file", "file\tx", "file\t-4", "../f\t4", "\t4", "\t\t", "f.1\t4\tU1", "f.1\t4\t0-1-1"] {
        assert!(parse_binlog_info(text, Writer::XtraBackup).is_err(), "{text:?}");
    }
    for text in ["", "\t\t", "f.1\t4\t0-1", "f.1\t4\t[]", "f.1\t4\t3e11fa47-71ca-11e1-9e33-c80aa9429562:1-9"] {
        assert!(parse_binlog_info(text, Writer::MariadbBackup).is_err(), "{text:?}");
    }
}

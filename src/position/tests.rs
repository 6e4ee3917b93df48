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

#[test]
fn binlog_info_of_xtrabackup() {
    let parse = |text: &str| parse_binlog_info(text, Writer::XtraBackup).unwrap();
    assert_eq!(parse("mysql-bin.000003\t1575\n"), by_file("mysql-bin.000003", 1575));
    assert_eq!(parse("./mysql-bin.000003\t4"), by_file("mysql-bin.000003", 4));
    assert_eq!(parse("mysql-bin.000003\t1575\t\n"), by_file("mysql-bin.000003", 1575));
    let two_lines = format!("mysql-bin.000002\t1037\t{UUID_1}:1-10,\n{UUID_2}:1-2\n");
    assert_eq!(parse(&two_lines), mysql(&format!("{UUID_1}:1-10,{UUID_2}:1-2")));
    assert_eq!(parse(&format!("\t\t{UUID_1}:1-10\n")), mysql(&format!("{UUID_1}:1-10")));
    let tagged = format!("{UUID_1}:1-10:blue:1-3:5");
    assert_eq!(parse(&format!("b.1\t4\t{tagged}\n")), mysql(&tagged));
}

#[test]
fn binlog_info_of_mariadb_backup() {
    let parse = |text: &str| parse_binlog_info(text, Writer::MariadbBackup).unwrap();
    assert_eq!(parse("mysql-bin.000001\t330\t0-100-7\n"), mariadb("0-100-7"));
    assert_eq!(parse("mysql-bin.000001\t330\t0-1-5,1-2-9\n"), mariadb("0-1-5,1-2-9"));
    assert_eq!(parse("mysql-bin.000001\t330\t\n"), by_file("mysql-bin.000001", 330));
    assert_eq!(parse("mysql-bin.000001\t330\n"), by_file("mysql-bin.000001", 330));
    assert_eq!(parse("mysql-bin.000001\t330\t[]\nmysql-bin.000002\t4\t0-1-2\n"), mariadb("0-1-2"));
}

#[test]
fn slave_info_by_file() {
    for text in [
        "CHANGE MASTER TO MASTER_LOG_FILE='mysql-bin.000003', MASTER_LOG_POS=1575\n",
        "CHANGE MASTER TO MASTER_LOG_FILE='mysql-bin.000003', MASTER_LOG_POS=1575;\n",
        "CHANGE REPLICATION SOURCE TO SOURCE_LOG_FILE='mysql-bin.000003', SOURCE_LOG_POS=1575;\n",
        "change  master to master_log_file = 'mysql-bin.000003',\tmaster_log_pos = 1575 ;",
        "CHANGE MASTER TO MASTER_LOG_FILE='mysql-bin.000003', MASTER_LOG_POS=1575 FOR CHANNEL '';\n",
    ] {
        assert_eq!(parse_slave_info(text).unwrap(), by_file("mysql-bin.000003", 1575), "{text}");
    }
}

#[test]
fn slave_info_by_mysql_gtid() {
    let set = format!("{UUID_1}:1-10,{UUID_2}:1-2");
    for text in [
        format!("SET GLOBAL gtid_purged='{UUID_1}:1-10, {UUID_2}:1-2';\nCHANGE MASTER TO MASTER_AUTO_POSITION=1\n"),
        format!("SET GLOBAL gtid_purged='{UUID_1}:1-10,\n{UUID_2}:1-2';\nCHANGE MASTER TO MASTER_AUTO_POSITION=1;\n"),
        format!("SET GLOBAL gtid_purged='{set}';\nCHANGE REPLICATION SOURCE TO SOURCE_AUTO_POSITION=1;\n"),
    ] {
        assert_eq!(parse_slave_info(&text).unwrap(), mysql(&set), "{text}");
    }
}

#[test]
fn slave_info_by_mariadb_gtid() {
    for text in [
        "SET GLOBAL gtid_slave_pos = '0-100-9';\nCHANGE MASTER TO master_use_gtid = slave_pos;\n",
        "SET GLOBAL gtid_slave_pos = '0-100-9';\nCHANGE MASTER TO master_use_gtid = slave_pos\n",
    ] {
        assert_eq!(parse_slave_info(text).unwrap(), mariadb("0-100-9"), "{text}");
    }
    let none_yet = "SET GLOBAL gtid_slave_pos = '';\nCHANGE MASTER TO master_use_gtid = slave_pos;\n";
    assert_eq!(parse_slave_info(none_yet).unwrap(), mariadb(""));
}

#[test]
fn more_than_one_source_or_a_named_one_is_refused() {
    for text in [
        "CHANGE MASTER 'ch1' TO MASTER_LOG_FILE='f.1', MASTER_LOG_POS=4;\n",
        "CHANGE MASTER TO MASTER_LOG_FILE='f.1', MASTER_LOG_POS=4 FOR CHANNEL 'x';\n",
        "CHANGE MASTER TO MASTER_LOG_FILE='f.1', MASTER_LOG_POS=4;\nCHANGE MASTER TO MASTER_LOG_FILE='g.1', MASTER_LOG_POS=4;\n",
        "SET GLOBAL gtid_slave_pos = '0-1-1';\nCHANGE MASTER 'a' TO master_use_gtid = slave_pos;\n",
    ] {
        let error = parse_slave_info(text).unwrap_err().to_string();
        assert!(error.contains("source"), "{text}: {error}");
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
        "CHANGE MASTER TO MASTER_HOST='evil'",
        "SET GLOBAL gtid_slave_pos = '0-1-1\\'; DROP DATABASE mysql;'",
        "SET GLOBAL read_only = '0'",
        "SET GLOBAL gtid_purged='not-a-uuid:1'",
    ] {
        assert!(parse_slave_info(text).is_err(), "{text}");
    }
    for text in ["", "file", "file\tx", "../f\t4", "\t4"] {
        assert!(parse_binlog_info(text, Writer::XtraBackup).is_err(), "{text:?}");
    }
    assert!(parse_binlog_info("f.1\t4\t0-1", Writer::MariadbBackup).is_err());
}

//! Causes of a later failure are reported before the first byte, with their names.

use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::Result;
use harness::logged::Said;
use harness::needs;
use harness::pods::container::Termination;
use harness::pods::manifest::Manifests;
use harness::pods::servers::tested;
use harness::pods::{Cluster, PATIENCE};
use harness::proxy::{Fault, Proxy, use_proxy};
use harness::set;
use mysqlset::model::event::Event;

fn primary(change: impl FnOnce(&mut Manifests)) -> Result<Cluster> {
    let cluster = set::start(1, |manifests| {
        manifests.set_env("clone", "MYSQLSET_GIVE_UP_AFTER", "3");
        change(manifests);
    })?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    Ok(cluster)
}

/// The end of a second pod's clone, before any data were received.
fn refused(cluster: &Cluster) -> Result<Termination> {
    cluster.scale(2);
    let end = set::end_of_clone(cluster, "mysql-1")?;
    assert!(!cluster.has_logged("mysql-1", "clone", Event::ReceiveBegun), "{end:?}");
    assert_eq!(set::state(cluster, "mysql-1"), None);
    Ok(end)
}

fn add_to_config(manifests: &mut Manifests, role: &str, line: &str) {
    let config = manifests.server_config().get_mut(role).expect("the role's file");
    config.push_str(line);
}

#[test]
fn a_volume_that_is_too_small() -> Result<()> {
    let cluster = primary(|_| {})?;
    cluster.limit_volume("mysql-1", 20 << 20);
    let end = refused(&cluster)?;
    assert_eq!(end.exit_code, 50, "{end:?}");
    assert!(cluster.has_logged("mysql-0", "sidecar", Event::RefusedNoRoom), "{end:?}");
    Ok(())
}

#[test]
fn another_page_size() -> Result<()> {
    let cluster = primary(|manifests| add_to_config(manifests, "replica.cnf", "    innodb_page_size = 8k\n"))?;
    let end = refused(&cluster)?;
    assert_eq!(end.exit_code, 21, "{end:?}");
    assert!(end.message.names(Event::RefusedPageSize), "{end:?}");
    assert!(end.message.contains("16384") && end.message.contains("8192"), "{end:?}");
    Ok(())
}

/// A backup tool leaves the table out or copies an unreadable file, and reports neither.
#[test]
fn a_table_whose_definition_is_lost() -> Result<()> {
    needs!(BackupTool);
    type Damage = fn(&Path) -> std::io::Result<()>;
    let cases: [(&str, Damage); 3] = [
        ("mysql/proc.frm", |data| std::fs::remove_file(data.join("mysql/proc.frm"))),
        ("app/m.frm", |data| std::fs::remove_file(data.join("app/m.frm"))),
        ("app/t.frm", |data| std::fs::write(data.join("app/t.frm"), "")),
    ];
    for (path, damage) in cases {
        let cluster = primary(|_| {})?;
        cluster.sql("mysql-0", "CREATE TABLE app.m (n INT) ENGINE=MyISAM; CREATE TABLE app.t (n INT)")?;
        damage(&cluster.volume("mysql-0").join("mysql"))?;
        let end = refused(&cluster)?;
        assert_eq!(end.exit_code, 21, "{end:?}");
        assert!(end.message.names(Event::RefusedDefinitionLost) && end.message.contains(path), "{end:?}");
    }
    Ok(())
}

/// The tool writes a file with the name of the database's directory.
#[test]
fn a_database_named_like_the_tools_notes() -> Result<()> {
    needs!(BackupTool);
    for name in ["xtrabackup_info", "mariadb_backup_checkpoints"] {
        let cluster = primary(|_| {})?;
        cluster.sql("mysql-0", &format!("CREATE DATABASE {name}; CREATE TABLE {name}.t (n INT)"))?;
        let end = refused(&cluster)?;
        assert_eq!(end.exit_code, 21, "{end:?}");
        assert!(end.message.names(Event::RefusedUncopied) && end.message.contains(name), "{end:?}");
    }
    Ok(())
}

/// Tables with upper-case names would exist, but statements could not find them.
#[test]
fn another_case_of_names() -> Result<()> {
    let cluster = primary(|manifests| add_to_config(manifests, "replica.cnf", "    lower_case_table_names = 1\n"))?;
    let end = refused(&cluster)?;
    assert_eq!(end.exit_code, 21, "{end:?}");
    assert!(end.message.names(Event::RefusedNameCase), "{end:?}");
    assert!(end.message.contains("lower_case_table_names = 0"), "{end:?}");
    Ok(())
}

#[test]
fn data_outside_the_data_directory() -> Result<()> {
    needs!(BackupTool);
    let cluster = primary(|manifests| add_to_config(manifests, "primary.cnf", "    aria_log_dir_path = /tmp\n"))?;
    let end = refused(&cluster)?;
    assert_eq!(end.exit_code, 21, "{end:?}");
    assert!(end.message.names(Event::RefusedOutside), "{end:?}");
    assert!(end.message.contains("aria_log_dir_path = /tmp"), "{end:?}");

    let cluster = primary(|_| {})?;
    symlink("/elsewhere", cluster.volume("mysql-0").join("mysql/app/linked.MYD"))?;
    let end = refused(&cluster)?;
    assert_eq!(end.exit_code, 21, "{end:?}");
    assert!(end.message.names(Event::RefusedOutside) && end.message.contains("app/linked.MYD"), "{end:?}");
    Ok(())
}

#[test]
fn a_replica_with_rows_of_its_own_is_no_donor() -> Result<()> {
    needs!(Gtid);
    let cluster = set::start(2, |_| {})?;
    cluster.wait_ready(2)?;
    set::fill(&cluster)?;
    cluster.sql("mysql-1", &format!("{}CREATE TABLE app.own (n INT)", tested().let_root_write()))?;
    cluster.scale(3);
    cluster.wait_ready(3)?;
    let log = cluster.logs("mysql-2", "clone");
    assert!(log.names(Event::RefusedOwnHistory), "{log}");
    assert_eq!(set::journal(&cluster, "mysql-2")?["clone"]["donor_pod"], "mysql-0");
    set::assert_same_rows(&cluster, &["mysql-2"])
}

#[test]
fn a_position_that_is_purged_while_the_copy_is_made_is_not_published() -> Result<()> {
    needs!(BackupTool);
    let cluster = primary(use_proxy)?;
    let proxy = Proxy::start(&cluster, "mysql-0", Fault::HoldAfter(5_000_000))?;
    cluster.scale(2);
    cluster.wait_for_event("mysql-1", "clone", Event::ReceiveBegun)?;
    cluster.wait_for_event("mysql-0", "sidecar", Event::DonorCloneServed)?;
    cluster.sql("mysql-0", "FLUSH BINARY LOGS; INSERT INTO app.keyed (n) VALUES (1); FLUSH BINARY LOGS")?;
    let current = cluster.value("mysql-0", tested().log_status())?;
    // The server keeps a log for a moment longer, until it is sure that a recovery can do without it.
    cluster.wait_for("the old logs to be purged", PATIENCE, || {
        cluster.sql("mysql-0", &format!("PURGE BINARY LOGS TO '{current}'"))?;
        Ok(cluster.sql("mysql-0", "SHOW BINARY LOGS")?.len() == 1)
    })?;
    proxy.set(Fault::None);
    cluster.wait_ready(2)?;
    let log = cluster.logs("mysql-1", "clone");
    // The event for another backup is the same for all reasons.
    let purged = "replication can no longer start from the clone's position";
    assert!(log.has_with(Event::CloneAnotherBackup, purged), "{log}");
    assert_eq!(set::clones(&cluster, "mysql-1"), 1);
    set::assert_same_rows(&cluster, &["mysql-1"])
}

#[test]
fn the_link_to_the_socket_that_an_image_leaves_is_no_fault() -> Result<()> {
    let cluster = set::start(1, |_| {})?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    // As in the entrypoint of MySQL's images.
    std::os::unix::fs::symlink("/run/mysqld/mysqld.sock", cluster.volume("mysql-0").join("mysql/mysql.sock"))?;
    cluster.scale(2);
    cluster.wait_ready(2)?;
    set::assert_same_rows(&cluster, &["mysql-1"])
}

//! `master.info` and `relay-log.info` in an earlier state, as a power cut can leave them, because the server writes
//! them without a sync. A replica by GTID knows its position from its tables.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use harness::needs;
use harness::pods::servers::tested;
use harness::pods::{Cluster, PATIENCE};
use harness::set::{self, INNODB_TABLES};
use harness::writer::Writer;

const FILES: [&str; 2] = ["master.info", "relay-log.info"];

#[test]
fn a_replica_with_older_files_of_replication_doubles_no_row() -> Result<()> {
    needs!(MariadbsPlaces);
    older_files_without(&[])
}

/// As in the tutorial's ConfigMap: the server trusts the files before its sidecar has looked.
#[test]
fn a_replica_that_starts_replication_by_itself_doubles_no_row_either() -> Result<()> {
    needs!(MariadbsPlaces);
    older_files_without(&["skip_slave_start\n", "relay_log_recovery = ON\n"])
}

/// Runs a replica without these lines of the ConfigMap.
fn older_files_without(lines: &[&str]) -> Result<()> {
    let cluster = set::start(2, |manifests| {
        set::notice_gone_replicas_soon(manifests);
        for file in manifests.server_files() {
            *file = lines.iter().fold(file.clone(), |file, line| file.replace(line, ""));
        }
    })?;
    cluster.wait_ready(2)?;
    set::fill(&cluster)?;
    write_for_a_while(&cluster)?;
    let older = read_files(&cluster)?;
    write_for_a_while(&cluster)?;
    for put_back in [Some(&older), None] {
        cluster.scale(1);
        cluster.wait_ready(1)?;
        replace_files(&cluster, put_back)?;
        let writer = Writer::start_in(&INNODB_TABLES, &cluster)?;
        cluster.scale(2);
        cluster.wait_ready(2)?;
        writer.finish()?;
        set::assert_same_rows(&cluster, &["mysql-1"])?;
        ensure!(set::clones(&cluster, "mysql-1") == 1, "cloned again instead");
    }
    Ok(())
}

/// Writes until the replica has applied more than before.
fn write_for_a_while(cluster: &Cluster) -> Result<()> {
    let applied = || cluster.value("mysql-1", tested().applied());
    let before = applied()?;
    let writer = Writer::start_in(&INNODB_TABLES, cluster)?;
    cluster.wait_for("a later position", PATIENCE, || Ok(applied()? != before && writer.written() > 100))?;
    writer.finish()?;
    set::assert_same_rows(cluster, &["mysql-1"])
}

fn read_files(cluster: &Cluster) -> Result<Vec<Vec<u8>>> {
    FILES.iter().map(|file| std::fs::read(place(cluster, file)).context(*file)).collect()
}

/// Replaces those files of a stopped server by older ones, or removes them.
fn replace_files(cluster: &Cluster, older: Option<&Vec<Vec<u8>>>) -> Result<()> {
    for (number, file) in FILES.iter().enumerate() {
        let path = place(cluster, file);
        match older {
            Some(older) => {
                ensure!(std::fs::read(&path)? != older[number], "{file} is as it was");
                // The same file is rewritten, so that the server still owns it.
                std::fs::write(&path, &older[number])?;
            }
            None => std::fs::remove_file(&path)?,
        }
    }
    Ok(())
}

fn place(cluster: &Cluster, file: &str) -> PathBuf {
    cluster.volume("mysql-1").join("mysql").join(file)
}

//! The checks of probes on real servers, and the restrictions of a container.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::logged::Said;
use harness::needs;
use harness::pods::servers::tested;
use harness::pods::{Cluster, PATIENCE};
use harness::set;
use harness::stand_ins::recipient::ask_for_a_clone;
use mysqlset::model::event::Event;
use rustix::process::Signal;

const PROGRAM: &str = "/mysqlset/mysqlset";

/// Runs a probe in the server's container. Returns the exit code and the output.
fn probe(cluster: &Cluster, pod: &str, words: &[&str]) -> Result<(Option<i32>, String)> {
    let output = cluster.exec(pod, "mysql", &[&[PROGRAM, "probe"], words].concat())?;
    Ok((output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned()))
}

#[test]
fn the_liveness_probe_passes_with_any_account_and_leaves_the_log_clean() -> Result<()> {
    let cluster = set::start(1, |_| {})?;
    cluster.wait_ready(1)?;
    for _ in 0..3 {
        assert_eq!(probe(&cluster, "mysql-0", &["alive"])?, (Some(0), String::new()));
    }
    assert_eq!(probe(&cluster, "mysql-0", &["ready", "--max-lag", "1"])?, (Some(0), String::new()));
    let log = cluster.logs("mysql-0", "mysql");
    assert!(!log.contains("Aborted connection") && !log.contains("Access denied"), "{log}");

    assert_eq!(probe(&cluster, "mysql-0", &["alive", "--sql-user", "nobody"])?, (Some(0), String::new()));
    cluster.signal("mysql-0", "mysql", Signal::STOP)?;
    let asked = cluster.exec("mysql-0", "sidecar", &[PROGRAM, "probe", "alive", "--timeout", "1"]);
    cluster.signal("mysql-0", "mysql", Signal::CONT)?;
    let asked = asked?;
    assert_eq!(asked.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&asked.stdout), "no answer in 1 seconds\n");
    Ok(())
}

#[test]
fn probes_of_a_normal_start_pass_and_a_failure_shows_the_sidecars_reason() -> Result<()> {
    let cluster = set::start(2, |_| {})?;
    cluster.wait_ready(2)?;
    assert_eq!(cluster.unhealthy(), [""; 0]);
    cluster.delete_pod("mysql-1")?;
    cluster.wait_for("mysql-1 to go", PATIENCE, || Ok(cluster.ready_pods() == ["mysql-0"]))?;
    cluster.wait_ready(2)?;
    assert_eq!(cluster.unhealthy(), [""; 0]);

    cluster.sql("mysql-1", tested().stop_replica())?;
    cluster.wait_for("mysql-1 to be unhealthy", PATIENCE, || Ok(!cluster.unhealthy().is_empty()))?;
    let said = cluster.unhealthy().join("\n");
    assert!(said.contains("mysql-1: Readiness probe of sidecar failed: not ready ("), "{said}");
    assert!(said.names(Event::ReplicationStopped), "{said}");
    Ok(())
}

/// The page breaks a pod's readiness to see it leave the service. Here the applier is stopped, which readiness depends
/// on.
#[test]
fn a_replica_that_is_stopped_leaves_the_service_and_comes_back() -> Result<()> {
    let cluster = set::start(2, |_| {})?;
    cluster.wait_ready(2)?;
    cluster.sql("mysql-1", "STOP REPLICA SQL_THREAD")?;
    cluster.wait_for("mysql-1 to leave", PATIENCE, || Ok(cluster.ready_pods() == ["mysql-0"]))?;
    let (code, why) = probe(&cluster, "mysql-1", &["ready"])?;
    ensure!(code == Some(1) && why.names(Event::ReplicationStopped), "{code:?}, {why}");
    assert_eq!(probe(&cluster, "mysql-1", &["alive"])?.0, Some(0));
    cluster.sql("mysql-1", "START REPLICA SQL_THREAD")?;
    cluster.wait_ready(2)
}

#[test]
fn no_container_can_write_anywhere_but_to_its_volumes() -> Result<()> {
    let cluster = set::start(1, |_| {})?;
    cluster.wait_ready(1)?;
    for (container, closed, open) in [
        ("mysql", &["/x", "/etc/mysql/conf.d/x", "/mysqlset/x"][..], &["/tmp/x", "/run/mysqld/x"][..]),
        ("sidecar", &["/x", "/tmp/x", "/etc/mysql/conf.d/x", "/mysqlset/x"], &["/volume/x"]),
    ] {
        let touch = |path: &str| Ok::<_, anyhow::Error>(cluster.exec("mysql-0", container, &["touch", path])?.status);
        for path in closed {
            assert!(!touch(path)?.success(), "{container}: {path}");
        }
        for path in open {
            assert!(touch(path)?.success(), "{container}: {path}");
        }
    }
    Ok(())
}

#[test]
fn a_running_clone_leaves_its_donor_ready() -> Result<()> {
    needs!(BackupTool);
    let cluster = set::start(1, |_| {})?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    set::fill_much(&cluster, 30)?;
    // The recipient reads nothing, so its clone does not end.
    let _recipient = ask_for_a_clone(&cluster)?;
    let is_donating = || -> Result<bool> { Ok(cluster.status_page("mysql-0")?.contains("\"donating\": true")) };
    cluster.wait_for("the clone", PATIENCE, is_donating)?;
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(3) {
        assert_eq!(cluster.ready_pods(), ["mysql-0"], "{}", cluster.describe());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(is_donating()?, "the clone has ended");
    Ok(())
}

//! Signals that end a sidecar, and signals that it ignores.

use std::time::{Duration, Instant};

use anyhow::Result;
use harness::needs;
use harness::pods::servers::tested;
use harness::pods::{Cluster, PATIENCE};
use harness::processes::tools_below;
use harness::set;
use harness::stand_ins::recipient::ask_for_a_clone;
use mysqlset::model::event::Event;
use mysqlset::protocol::data::DataReader;
use rustix::process::Signal;

#[test]
fn an_idle_sidecar_ends_at_once_on_sigterm_and_on_nothing_else() -> Result<()> {
    let cluster = set::start(1, |_| {})?;
    cluster.wait_ready(1)?;
    let pid = cluster.pid("mysql-0", "sidecar")?;
    for signal in [Signal::HUP, Signal::PIPE, Signal::USR1] {
        cluster.signal("mysql-0", "sidecar", signal)?;
    }
    cluster.wait_for_event("mysql-0", "sidecar", Event::SidecarHup)?;
    assert_eq!(cluster.pid("mysql-0", "sidecar")?, pid);

    let started = Instant::now();
    cluster.signal("mysql-0", "sidecar", Signal::TERM)?;
    cluster.wait_for("the sidecar's end", PATIENCE, || {
        Ok(cluster.status("mysql-0")?.containers["sidecar"].last_termination.is_some())
    })?;
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    let status = cluster.status("mysql-0")?;
    assert_eq!(status.containers["sidecar"].last_termination.as_ref().map(|end| end.exit_code), Some(0));
    cluster.wait_ready(1)
}

#[test]
fn a_running_clone_may_finish_after_sigterm() -> Result<()> {
    needs!(BackupTool);
    let cluster = set::start(1, |_| {})?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    set::fill_much(&cluster, 30)?;
    let recipient = ask_for_a_clone(&cluster)?;
    // More data than the sockets hold, so the donor waits for its recipient to read.
    cluster.signal("mysql-0", "sidecar", Signal::TERM)?;
    cluster.wait_for_event("mysql-0", "sidecar", Event::DonorDraining)?;
    assert!(cluster.connect("mysql-0", 3307).is_err(), "a stopping sidecar listens");

    let mut reader = DataReader::new(&recipient);
    let bytes = std::io::copy(&mut reader, &mut std::io::sink())?;
    assert_eq!(reader.finish()?.bytes, bytes);
    assert!(bytes > 30 << 20, "{bytes}");
    let end = || cluster.status("mysql-0").ok()?.containers["sidecar"].last_termination.clone();
    cluster.wait_for("the sidecar's end", PATIENCE, || Ok(end().is_some()))?;
    assert_eq!(end().map(|end| end.exit_code), Some(0));
    Ok(())
}

#[test]
fn a_clone_that_takes_too_long_does_not_hold_the_pod() -> Result<()> {
    needs!(BackupTool);
    let cluster = set::start(1, |manifests| manifests.set_env("sidecar", "MYSQLSET_DRAIN_TIMEOUT", "1"))?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    set::fill_much(&cluster, 30)?;
    let sidecar = cluster.pid("mysql-0", "sidecar")?;
    let _recipient = ask_for_a_clone(&cluster)?;
    cluster.wait_for("the backup tool", PATIENCE, || Ok(!tools_below(sidecar).is_empty()))?;
    let tools = tools_below(sidecar);
    let started = Instant::now();
    cluster.signal("mysql-0", "sidecar", Signal::TERM)?;
    cluster.wait_for("the sidecar's end", PATIENCE, || {
        Ok(cluster.status("mysql-0")?.containers["sidecar"].last_termination.is_some())
    })?;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    for tool in tools {
        assert!(!std::path::Path::new("/proc").join(&tool).exists(), "the backup tool {tool} is still there");
    }
    cluster.wait_ready(1)?;
    set::assert_no_leftovers(&cluster, "mysql-0")
}

#[test]
fn a_dead_server_does_not_end_the_sidecar_and_its_replication_is_started_again() -> Result<()> {
    let cluster = set::start(2, |_| {})?;
    cluster.wait_ready(2)?;
    set::fill(&cluster)?;
    for pod in ["mysql-1", "mysql-0"] {
        let sidecar = cluster.pid(pod, "sidecar")?;
        let server = cluster.pid(pod, "mysql")?;
        cluster.signal(pod, "mysql", Signal::KILL)?;
        cluster.wait_for("a new server", PATIENCE, || Ok(cluster.pid(pod, "mysql")? != server))?;
        cluster.wait_ready(2)?;
        assert_eq!(cluster.pid(pod, "sidecar")?, sidecar, "{pod}: the sidecar restarted");
        cluster.sql("mysql-0", "INSERT INTO app.keyed (n) VALUES (1)")?;
        set::assert_same_rows_of_innodb(&cluster, &["mysql-1"])?;
    }
    assert_eq!(set::clones(&cluster, "mysql-1"), 1);
    Ok(())
}

#[test]
fn orphans_are_reaped() -> Result<()> {
    let cluster = set::start(1, |_| {})?;
    cluster.wait_ready(1)?;
    cluster.exec("mysql-0", "sidecar", &["sh", "-c", "(sleep 0.2 &) ; exit 0"])?;
    let sidecar = cluster.pid("mysql-0", "sidecar")?;
    let zombies = || -> Result<usize> {
        let children = std::fs::read_to_string(format!("/proc/{sidecar}/task/{sidecar}/children"))?;
        let stat = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        Ok(children.split_whitespace().filter(|pid| stat(pid).contains(") Z ")).count())
    };
    // The sidecar adopts the orphan, which ends and is reaped.
    cluster.wait_for("no child and no zombie", PATIENCE, || {
        let children = std::fs::read_to_string(format!("/proc/{sidecar}/task/{sidecar}/children"))?;
        Ok(zombies()? == 0 && children.trim().is_empty())
    })
}

#[test]
fn a_deleted_pod_lets_its_running_clone_finish() -> Result<()> {
    needs!(BackupTool);
    let cluster = set::start(1, |_| {})?;
    let ended = ends_after_its_clone(&cluster)?;
    assert!(ended("sidecar") < ended("mysql"), "{}", cluster.describe());
    Ok(())
}

#[test]
fn a_deleted_pod_whose_sidecar_stops_last_lets_its_running_clone_finish() -> Result<()> {
    needs!(BackupTool);
    let cluster = set::start_from(tested().overlay, &["native-sidecar"], 1, |_| {})?;
    let ended = ends_after_its_clone(&cluster)?;
    assert!(ended("mysql") < ended("sidecar"), "{}", cluster.describe());
    Ok(())
}

/// Deletes a donor during a clone of it. Returns the ends of its containers, as numbers of events.
fn ends_after_its_clone(cluster: &Cluster) -> Result<impl Fn(&str) -> Option<usize>> {
    cluster.wait_ready(1)?;
    set::fill(cluster)?;
    set::fill_much(cluster, 30)?;
    let recipient = ask_for_a_clone(cluster)?;
    cluster.delete_pod("mysql-0")?;
    // The donor waits for its recipient to read, and its server waits with it.
    std::thread::sleep(Duration::from_secs(2));
    let mut reader = DataReader::new(&recipient);
    let bytes = std::io::copy(&mut reader, &mut std::io::sink())?;
    assert_eq!(reader.finish()?.bytes, bytes);
    cluster.wait_ready(1)?;
    let events = cluster.events();
    Ok(move |container: &str| {
        let text = format!("mysql-0: {container} ended with 0");
        let found = events.iter().position(|event| event.contains(&text));
        assert!(found.is_some(), "{events:#?}");
        found
    })
}

//! What ends a sidecar and what doesn't.

use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::process::Signal;

use crate::pods::PATIENCE;
use crate::set;

#[test]
fn an_idle_sidecar_ends_at_once_on_sigterm_and_on_nothing_else() -> Result<()> {
    let cluster = set::start(1, |_| {})?;
    cluster.wait_ready(1)?;
    let pid = cluster.pid("mysql-0", "sidecar")?;
    for signal in [Signal::HUP, Signal::PIPE, Signal::USR1] {
        cluster.signal("mysql-0", "sidecar", signal)?;
    }
    set::wait_for_log(&cluster, "mysql-0", "sidecar", "SIGHUP")?;
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
    // The orphan is handed to the sidecar, ends, and is gone.
    cluster.wait_for("no child and no zombie", PATIENCE, || {
        let children = std::fs::read_to_string(format!("/proc/{sidecar}/task/{sidecar}/children"))?;
        Ok(zombies()? == 0 && children.trim().is_empty())
    })
}

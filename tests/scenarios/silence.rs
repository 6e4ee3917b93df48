//! Peers that are silent for a while: a clone waits for live ones, and gives up the others.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::logged::Said;
use harness::needs;
use harness::pods::PATIENCE;
use harness::set;
use mysqlset::model::event::Event;
use rustix::process::Signal;

const STALL: &str = "MYSQLSET_STALL_TIMEOUT";

/// A tool that has written everything, and needs this many more seconds to end.
fn slow_to_end(seconds: u32) -> String {
    format!(
        "#!/bin/sh\ncase \"$*\" in *--backup*) ;; *) exec /usr/bin/mariadb-backup \"$@\";; esac\n\
         /usr/bin/mariadb-backup \"$@\"; code=$?; exec >&-; sleep {seconds}; exit $code\n"
    )
}

#[test]
fn a_donor_is_not_given_up_for_a_silence_that_it_has_announced() -> Result<()> {
    needs!(BackupTool);
    // The donor sends a heartbeat every 5 seconds, and then every second, which is more often than its tool ends.
    for (of_donor, of_recipient, silence) in [("30", "1", 3), ("3", "1", 4)] {
        let cluster = set::start(1, |manifests| {
            manifests.set_env("sidecar", STALL, of_donor);
            manifests.set_env("clone", STALL, of_recipient);
            manifests.stand_in("sidecar", "mariadb-backup", &slow_to_end(silence));
        })?;
        cluster.wait_ready(1)?;
        set::fill(&cluster)?;
        cluster.scale(2);
        cluster.wait_ready(2)?;
        set::assert_same_rows(&cluster, &["mysql-1"])?;
        let log = cluster.logs("mysql-1", "clone");
        ensure!(log.count_of(Event::ReceiveBegun) == 1, "{of_donor}, {of_recipient}, {silence}:\n{log}");
    }
    Ok(())
}

/// Only heartbeats are sent. The donor's buffers hold them, whether they are read or not.
#[test]
fn a_recipient_that_is_gone_is_noticed_where_little_is_sent() -> Result<()> {
    needs!(BackupTool);
    let cluster = set::start(1, |manifests| {
        manifests.set_env("sidecar", STALL, "3");
        let slow = "#!/bin/sh\ncase \"$*\" in *--backup*) sleep 60;; esac\nexec /usr/bin/mariadb-backup \"$@\"\n";
        manifests.stand_in("sidecar", "mariadb-backup", slow);
    })?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    cluster.scale(2);
    cluster.wait_for_event("mysql-1", "clone", Event::ReceiveBegun)?;
    cluster.set_network("mysql-1", false)?;
    cluster.wait_for("the donor to notice", Duration::from_secs(20), || {
        Ok(cluster.has_logged("mysql-0", "sidecar", Event::DonorCloneFailed))
    })
}

/// Earlier, clients were sent to such a replica as long as the primary's sidecar was silent, or strangers blocked its
/// answers. A replica whose primary is away serves its data.
#[test]
fn a_replica_that_is_held_back_reports_it_and_is_unready_after_a_while() -> Result<()> {
    let cluster = set::start(2, |manifests| {
        manifests.set_env("sidecar", "MYSQLSET_MAX_HELD_BACK", "5");
        manifests.container("sidecar").liveness_probe = None;
    })?;
    cluster.wait_ready(2)?;
    let held_back = || -> Result<bool> {
        let (_, metrics) = cluster.http_get("mysql-1", 8307, "/metrics")?;
        let line = metrics.lines().find(|line| line.starts_with("mysqlset_replication_held_back_seconds "));
        Ok(line.is_some_and(|line| !line.ends_with(" 0.0")))
    };
    cluster.set_network("mysql-0", false)?;
    cluster.signal("mysql-1", "mysql", Signal::KILL)?;
    cluster.wait_for("a replica that waits", PATIENCE, held_back)?;
    std::thread::sleep(Duration::from_secs(10));
    ensure!(cluster.ready_pods().contains(&"mysql-1".to_owned()), "unready without a primary: {:?}", cluster.events());

    cluster.signal("mysql-0", "sidecar", Signal::STOP)?;
    cluster.set_network("mysql-0", true)?;
    cluster.wait_for("an unready replica that reports why", PATIENCE, || {
        cluster.is_unready_by("mysql-1", Event::ReplicationWaits)
    })?;
    let status: serde_json::Value = serde_json::from_str(&cluster.status_page("mysql-1")?)?;
    ensure!(status["held_back_since"].as_u64().is_some(), "{status:#}");
    cluster.signal("mysql-0", "sidecar", Signal::CONT)?;
    cluster.wait_ready(2)
}

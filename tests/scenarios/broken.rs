//! Replication that cannot continue: reported, kept, and repaired where the user asks for it.

use anyhow::{Context, Result, ensure};
use harness::logged::Said;
use harness::needs;
use harness::pods::servers::tested;
use harness::pods::{Cluster, PATIENCE};
use harness::set;
use mysqlset::model::event::Event;
use rustix::process::Signal;

/// A replica whose source purged the logs that it needs while it was away.
fn purged_replica(on_broken_replica: Option<&str>) -> Result<Cluster> {
    let cluster = set::start(2, |manifests| {
        if let Some(word) = on_broken_replica {
            manifests.set_env("clone", "MYSQLSET_ON_BROKEN_REPLICA", word);
        }
    })?;
    cluster.wait_ready(2)?;
    set::fill(&cluster)?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    purge_while_away(&cluster)?;
    Ok(cluster)
}

fn purge_while_away(cluster: &Cluster) -> Result<()> {
    cluster.scale(1);
    cluster.wait_ready(1)?;
    cluster.sql("mysql-0", "INSERT INTO app.keyed (n) VALUES (1); INSERT INTO app.keyless (n) VALUES (1)")?;
    cluster.sql("mysql-0", "FLUSH BINARY LOGS")?;
    let current = cluster.value("mysql-0", tested().log_status())?;
    cluster.wait_for("the old logs to be purged", PATIENCE, || {
        cluster.sql("mysql-0", &format!("PURGE BINARY LOGS TO '{current}'"))?;
        Ok(cluster.sql("mysql-0", "SHOW BINARY LOGS")?.len() == 1)
    })?;
    cluster.scale(2);
    cluster.wait_for("mysql-1 to report the fault", PATIENCE, || {
        let (_, why) = cluster.http_get("mysql-1", 8307, "/readyz")?;
        Ok(why.names(Event::ReplicationBroken) && why.contains("source-purged") && why.contains("1236"))
    })
}

fn delete_pod_and_wait_for_another(cluster: &Cluster) -> Result<()> {
    let before = cluster.status("mysql-1")?.uid;
    cluster.delete_pod("mysql-1")?;
    cluster.wait_for("a new mysql-1", PATIENCE, || Ok(cluster.status("mysql-1")?.uid != before))
}

#[test]
fn a_replica_whose_source_was_purged_reports_it_and_keeps_its_data() -> Result<()> {
    let cluster = purged_replica(None)?;
    let (_, metrics) = cluster.http_get("mysql-1", 8307, "/metrics")?;
    ensure!(metrics.contains("mysqlset_replication_broken 1"), "{metrics}");
    let log = cluster.logs("mysql-1", "sidecar");
    ensure!(log.has_with(Event::ReplicationBroken, "--on-broken-replica clone-again"), "{log}");
    assert_eq!(set::journal(&cluster, "mysql-1")?["broken"]["why"], "source-purged");
    // A few probes after the first report.
    cluster.wait_for("mysql-1 to leave", PATIENCE, || Ok(cluster.ready_pods() == ["mysql-0"]))?;

    delete_pod_and_wait_for_another(&cluster)?;
    cluster.wait_for_event("mysql-1", "sidecar", Event::SidecarStarted)?;
    assert_eq!(set::clones(&cluster, "mysql-1"), 1);
    assert_eq!(cluster.value("mysql-1", "SELECT COUNT(*) FROM app.keyed").unwrap_or("300".into()), "300");
    Ok(())
}

/// A log of the same name may contain other transactions, if the source was restored from an older snapshot.
#[test]
fn a_replica_is_kept_while_the_contents_of_its_source_are_unknown() -> Result<()> {
    needs!(PlacesInTheLog);
    let cluster = purged_replica(Some("clone-again"))?;
    delete_pod_and_wait_for_another(&cluster)?;
    cluster.wait_for_event_with("mysql-1", "clone", Event::CloneAgainNotNeeded, "mysql-bin.")?;
    assert_eq!(set::clones(&cluster, "mysql-1"), 1);
    Ok(())
}

#[test]
fn a_replica_is_cloned_again_on_request_at_most_once_a_day() -> Result<()> {
    needs!(Gtid);
    let cluster = purged_replica(Some("clone-again"))?;
    delete_pod_and_wait_for_another(&cluster)?;
    cluster.wait_ready(2)?;
    assert_eq!(set::clones(&cluster, "mysql-1"), 2);
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    set::assert_no_leftovers(&cluster, "mysql-1")?;
    let journal = set::journal(&cluster, "mysql-1")?;
    assert!(journal["broken"].is_null() && journal["cloned_again_at"].is_u64(), "{journal}");

    purge_while_away(&cluster)?;
    delete_pod_and_wait_for_another(&cluster)?;
    cluster.wait_for_event("mysql-1", "clone", Event::CloneAgainRefused)?;
    assert_eq!(set::clones(&cluster, "mysql-1"), 2);
    Ok(())
}

/// The old data stay until the new ones are whole, at any moment of a kill.
#[test]
fn a_clone_in_the_place_of_a_broken_replica_may_be_killed_at_any_time() -> Result<()> {
    needs!(Gtid);
    let cluster = purged_replica(Some("clone-again"))?;
    let data_dir = cluster.volume("mysql-1").join("mysql");
    for phase in ["receiving", "received", "preparing", "publishing"] {
        delete_pod_and_wait_for_another(&cluster)?;
        let stage = cluster.volume("mysql-1").join(".mysqlset-mysql-stage/.mysqlset.json");
        let deadline = std::time::Instant::now() + PATIENCE;
        while set::clones(&cluster, "mysql-1") == 1 {
            ensure!(std::time::Instant::now() < deadline, "{phase}\n{}", cluster.describe());
            let journal = std::fs::read_to_string(&stage).unwrap_or_default();
            if journal.contains(&format!("\"{phase}\"")) && cluster.signal("mysql-1", "clone", Signal::KILL).is_ok() {
                let names = std::fs::read_dir(&data_dir).context("the old data are gone")?.count();
                ensure!(names > 5, "{phase}: {names} names are left");
                break;
            }
        }
    }
    cluster.wait_ready(2)?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    set::assert_no_leftovers(&cluster, "mysql-1")
}

/// A primary that came back from an older snapshot rejects all its replicas. Their additional rows must survive.
#[test]
fn a_replica_that_has_more_than_its_primary_is_never_replaced() -> Result<()> {
    let cluster = set::start(2, |manifests| {
        manifests.set_env("clone", "MYSQLSET_ON_BROKEN_REPLICA", "clone-again");
    })?;
    cluster.wait_ready(2)?;
    set::fill(&cluster)?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    let (volume, snapshot) = (cluster.volume("mysql-0").join("mysql"), cluster.volume("mysql-0").join("snapshot"));
    let stop = || -> Result<()> {
        cluster.scale(0);
        cluster.wait_ready(0)
    };
    let copy = |from: &std::path::Path, to: &std::path::Path| -> Result<()> {
        let _ = std::fs::remove_dir_all(to);
        ensure!(std::process::Command::new("cp").arg("-a").args([from, to]).status()?.success());
        Ok(())
    };
    stop()?;
    copy(&volume, &snapshot)?;
    cluster.scale(2);
    cluster.wait_ready(2)?;
    cluster.sql("mysql-0", "INSERT INTO app.keyed (n) VALUES (-1)")?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    stop()?;
    copy(&snapshot, &volume)?;
    cluster.scale(2);
    cluster.wait_for("mysql-1 to report the fault", PATIENCE, || {
        cluster.is_unready_by("mysql-1", Event::ReplicationBroken)
    })?;
    assert_eq!(set::journal(&cluster, "mysql-1")?["broken"]["why"], "ahead-of-source");
    delete_pod_and_wait_for_another(&cluster)?;
    cluster.wait_for_event("mysql-1", "clone", Event::CloneAgainRefused)?;
    cluster.wait_for("its server", PATIENCE, || {
        Ok(cluster.value("mysql-1", "SELECT COUNT(*) FROM app.keyed WHERE n = -1")? == "1")
    })?;
    assert_eq!(set::clones(&cluster, "mysql-1"), 1);
    Ok(())
}

//! A replica whose applier stopped with an error. Until it has applied beyond that place it is neither ready nor a
//! donor, even after restarts.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::logged::Said;
use harness::pods::servers::tested;
use harness::pods::{Cluster, PATIENCE};
use harness::set;
use mysqlset::model::event::Event;
use rustix::process::Signal;

/// How long the test watches a replica after its applier has stopped again.
const LOOKED_AT: Duration = Duration::from_secs(2);

/// A row of the replica's own conflicts with the primary's.
fn stop_applier(cluster: &Cluster, pod: &str) -> Result<()> {
    let row = "INSERT INTO app.keyed (id, n, text) VALUES (100000, 1, 'x')";
    cluster.sql(pod, &format!("{}SET SESSION sql_log_bin = 0; {row}", tested().let_root_write()))?;
    cluster.sql("mysql-0", &format!("{row}; INSERT INTO app.keyless (n) VALUES (1)"))?;
    cluster.wait_for(&format!("{pod} to say what is wrong"), PATIENCE, || Ok(tells_of_fault(cluster, pod)?.1))
}

/// Whether a pod is ready, and whether it reports an applier that stopped with 1062 and went no further.
fn tells_of_fault(cluster: &Cluster, pod: &str) -> Result<(bool, bool)> {
    let (code, why) = cluster.http_get(pod, 8307, "/readyz")?;
    Ok((code == 200, why.names(Event::ApplierFault) && why.contains(" 1062 ")))
}

/// Watches a restart until the applier has stopped again, and for a while after.
fn assert_never_ready(cluster: &Cluster, pod: &str, restart: impl FnOnce() -> Result<()>) -> Result<()> {
    let before = cluster.status(pod)?;
    restart()?;
    let deadline = Instant::now() + PATIENCE;
    let mut stopped: Option<Instant> = None;
    while stopped.is_none_or(|since| since.elapsed() < LOOKED_AT) {
        ensure!(Instant::now() < deadline, "the applier does not stop again\n{}", cluster.describe());
        let is_ready = tells_of_fault(cluster, pod).is_ok_and(|(is_ready, _)| is_ready);
        ensure!(!is_ready, "ready before its applier got beyond the place\n{}", cluster.describe());
        let is_another = cluster.status(pod).is_ok_and(|now| {
            let restarts = |status: &harness::pods::pod::PodStatus| -> u32 {
                status.containers.values().map(|container| container.restarts).sum()
            };
            now.uid != before.uid || restarts(&now) > restarts(&before)
        });
        if stopped.is_none() && is_another && has_stopped(cluster, pod).unwrap_or(false) {
            stopped = Some(Instant::now());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// The server's own report. Both families have the applier's thread and its error there.
fn has_stopped(cluster: &Cluster, pod: &str) -> Result<bool> {
    let rows = cluster.sql(pod, "SHOW REPLICA STATUS")?;
    Ok(rows.first().is_some_and(|row| row.iter().any(|value| value == "1062")))
}

fn mend(cluster: &Cluster, pod: &str) -> Result<()> {
    let delete = "SET SESSION sql_log_bin = 0; DELETE FROM app.keyed WHERE id = 100000; START REPLICA SQL_THREAD";
    cluster.sql(pod, &format!("{}{delete}", tested().let_root_write())).map(drop)
}

#[test]
fn a_replica_with_an_applier_fault_is_neither_ready_nor_a_donor() -> Result<()> {
    let cluster = set::start(2, |_| {})?;
    cluster.wait_ready(2)?;
    set::fill(&cluster)?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    stop_applier(&cluster, "mysql-1")?;
    // The StatefulSet makes the next pod when this one is ready.
    cluster.wait_for("mysql-1 to leave", PATIENCE, || Ok(cluster.ready_pods() == ["mysql-0"]))?;
    cluster.scale(3);
    // The applier is started by hand. For seconds both threads run, because the failing statement waits for a lock.
    let seconds_of_both = "LOCK TABLES app.keyed WRITE; START REPLICA SQL_THREAD; SELECT SLEEP(3)";
    std::thread::scope(|scope| -> Result<()> {
        let locking = scope.spawn(|| cluster.sql("mysql-1", seconds_of_both));
        while !locking.is_finished() {
            ensure!(!tells_of_fault(&cluster, "mysql-1")?.0, "ready while it waits\n{}", cluster.describe());
            std::thread::sleep(Duration::from_millis(10));
        }
        locking.join().expect("the client").map(drop)
    })?;
    assert_never_ready(&cluster, "mysql-1", || cluster.delete_pod("mysql-1"))?;
    let why = cluster.http_get("mysql-1", 8307, "/readyz")?.1;
    ensure!(why.names(Event::ApplierFault) && why.contains(" 1062 "), "{why}");
    let (_, metrics) = cluster.http_get("mysql-1", 8307, "/metrics")?;
    ensure!(metrics.contains("mysqlset_replication_applier_fault 1"), "{metrics}");
    let fault = set::journal(&cluster, "mysql-1")?["applier_fault"].clone();
    ensure!(fault["number"] == 1062 && fault["since"].is_u64() && fault["stopped_at"]["by"] == tested().position_by());
    let shown = cluster.status_page("mysql-1")?;
    let shown: serde_json::Value = serde_json::from_str(&shown)?;
    ensure!(shown["applier_fault"] == fault, "{shown}");

    assert_never_ready(&cluster, "mysql-1", || cluster.signal("mysql-1", "mysql", Signal::KILL))?;
    assert_never_ready(&cluster, "mysql-1", || cluster.signal("mysql-1", "sidecar", Signal::KILL))?;
    ensure!(cluster.status("mysql-2").is_err(), "a pod was made beside a replica with a fault\n{}", cluster.describe());
    assert_eq!(set::journal(&cluster, "mysql-1")?["applier_fault"]["stopped_at"], fault["stopped_at"]);

    let restarts = cluster.status("mysql-1")?.containers["mysql"].restarts;
    mend(&cluster, "mysql-1")?;
    cluster.wait_ready(3)?;
    set::assert_same_rows(&cluster, &["mysql-1", "mysql-2"])?;
    assert_eq!(cluster.status("mysql-1")?.containers["mysql"].restarts, restarts, "a restart is not needed");
    assert!(set::journal(&cluster, "mysql-1")?["applier_fault"].is_null());
    let (_, metrics) = cluster.http_get("mysql-1", 8307, "/metrics")?;
    ensure!(metrics.contains("mysqlset_replication_applier_fault 0"), "{metrics}");
    Ok(())
}

#[test]
fn a_skipped_transaction_counts_as_applied() -> Result<()> {
    let cluster = set::start(2, |_| {})?;
    cluster.wait_ready(2)?;
    set::fill(&cluster)?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    stop_applier(&cluster, "mysql-1")?;
    skip(&cluster, "mysql-1")?;
    cluster.wait_for("mysql-1 to be ready", PATIENCE, || Ok(tells_of_fault(&cluster, "mysql-1")?.0))?;
    cluster.wait_ready(2)?;
    // The conflicting row is the primary's.
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    assert!(set::journal(&cluster, "mysql-1")?["applier_fault"].is_null());
    Ok(())
}

/// The data of such a replica differ from the lost primary's. A user who skips the place accepts them as equal.
#[test]
fn a_lost_primary_is_not_recovered_from_a_replica_with_an_applier_fault() -> Result<()> {
    harness::needs!(Gtid);
    let cluster = set::start(2, |manifests| {
        manifests.set_env("clone", "MYSQLSET_ON_LOST_PRIMARY", "recover");
        // A StatefulSet takes no pod away beside an unready one.
        let probe = manifests.container("sidecar").readiness_probe.as_mut();
        probe.expect("the sidecar has one").failure_threshold = u32::MAX;
    })?;
    cluster.wait_ready(2)?;
    set::fill(&cluster)?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    stop_applier(&cluster, "mysql-1")?;
    cluster.delete_volume("mysql-0")?;
    let end = set::end_of_clone(&cluster, "mysql-0")?;
    ensure!(end.exit_code == 35 && end.message.contains("error 1062"), "{end:?}");
    if tested().is_mariadb() {
        // The server throws the relay logs away while the receiver is stopped. Only the GTID position is left to be
        // skipped.
        let stopped_at = cluster.value("mysql-1", "SELECT @@gtid_slave_pos")?;
        let (stream, number) = stopped_at.rsplit_once('-').context("no position")?;
        let next = format!("{stream}-{}", number.parse::<u64>()? + 1);
        cluster.sql("mysql-1", &format!("STOP SLAVE; SET GLOBAL gtid_slave_pos = '{next}'; START SLAVE SQL_THREAD"))?;
    } else {
        skip(&cluster, "mysql-1")?;
    }
    cluster.wait_ready(2)?;
    assert_eq!(cluster.value("mysql-0", "SELECT COUNT(*) FROM app.keyed WHERE id = 100000")?, "1");
    cluster.sql("mysql-0", "INSERT INTO app.keyed (n) VALUES (7)")?;
    set::assert_same_rows(&cluster, &["mysql-1"])
}

/// The way that each server's manual describes.
fn skip(cluster: &Cluster, pod: &str) -> Result<()> {
    let by_counter = |name: &str| format!("SET GLOBAL {name} = 1; START REPLICA SQL_THREAD");
    let statements = match tested().position_by() {
        "mariadb-gtid" => by_counter("sql_slave_skip_counter"),
        "mysql-gtid" => {
            let text = cluster.status_page(pod)?;
            let status: serde_json::Value = serde_json::from_str(&text)?;
            let transaction = status["applier_fault"]["transaction"].as_str().unwrap_or_default().to_owned();
            ensure!(transaction.contains(':'), "{text}");
            format!(
                "SET GTID_NEXT = '{transaction}'; BEGIN; COMMIT; SET GTID_NEXT = AUTOMATIC; START REPLICA SQL_THREAD"
            )
        }
        _ => by_counter("sql_replica_skip_counter"),
    };
    cluster.sql(pod, &format!("{}{statements}", tested().let_root_write())).map(drop)
}

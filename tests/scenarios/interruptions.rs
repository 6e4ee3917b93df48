//! Every container is killed in every phase, and the set comes up whole.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::logged::Said;
use harness::needs;
use harness::pods::{Cluster, PATIENCE};
use harness::proxy::{Fault, Proxy, use_proxy};
use harness::set;
use harness::writer::Writer;
use mysqlset::model::event::Event;
use rustix::process::Signal;

#[test]
fn a_recipient_killed_in_each_of_its_phases_ends_whole() -> Result<()> {
    let cluster = set::start(2, |_| {})?;
    cluster.wait_ready(2)?;
    set::fill(&cluster)?;
    set::fill_much(&cluster, 40)?;
    let writer = Writer::start(&cluster)?;
    for phase in ["receiving", "received", "preparing", "publishing"] {
        let hits = kill_in(&cluster, phase)?;
        println!("{phase}: killed there {hits} times");
        set::assert_no_leftovers(&cluster, "mysql-1")?;
    }
    writer.finish()?;
    set::assert_same_rows(&cluster, &["mysql-1"])
}

/// Has mysql-1 cloned again and kills its clone when the journal says `phase`. It repeats this until the next start has
/// found that state. Short phases are easily missed, so `received` and `publishing` may be given up.
fn kill_in(cluster: &Cluster, phase: &str) -> Result<u32> {
    let must_be_met = matches!(phase, "receiving" | "preparing");
    for _ in 0..if must_be_met { 20 } else { 4 } {
        let met = || {
            let log = cluster.logs("mysql-1", "clone");
            log.lines_of(Event::CloneResumed).iter().filter(|line| line.field("state") == Some(phase)).count()
        };
        let before = met();
        cluster.delete_volume("mysql-1")?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            ensure!(Instant::now() < deadline, "the clone did not get anywhere\n{}", cluster.describe());
            match set::state(cluster, "mysql-1") {
                Some(state) if state == phase => {
                    let _ = cluster.signal("mysql-1", "clone", Signal::KILL);
                    break;
                }
                Some(state) if state == "replicating" => break,
                _ => std::thread::sleep(Duration::from_micros(200)),
            }
        }
        cluster.wait_ready(2)?;
        if met() > before {
            return Ok(1);
        }
    }
    ensure!(!must_be_met, "{phase} was never met\n{}", cluster.describe());
    Ok(0)
}

#[test]
fn a_donor_killed_in_the_middle_is_asked_again() -> Result<()> {
    needs!(BackupTool);
    let cluster = set::start(1, use_proxy)?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    set::fill_much(&cluster, 40)?;
    let proxy = Proxy::start(&cluster, "mysql-0", Fault::SilenceAfter(8_000_000))?;
    // The sidecar, then the server under it, each while a backup is under way.
    cluster.scale(2);
    for container in ["sidecar", "mysql"] {
        let connections = proxy.connections();
        cluster
            .wait_for("a stream that stalls", PATIENCE, || Ok(proxy.connections() > connections.saturating_sub(1)))?;
        cluster.wait_for_event("mysql-1", "clone", Event::ReceiveBegun)?;
        cluster.signal("mysql-0", container, Signal::KILL)?;
        cluster
            .wait_for("mysql-0 to be back", PATIENCE, || Ok(cluster.ready_pods().contains(&"mysql-0".to_owned())))?;
    }
    proxy.set(Fault::None);
    cluster.wait_ready(2)?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    set::assert_no_leftovers(&cluster, "mysql-0")?;
    set::assert_no_leftovers(&cluster, "mysql-1")
}

#[test]
fn a_sidecar_killed_again_and_again_starts_replication_once_and_right() -> Result<()> {
    /// Kills during which rows are written. A slow disk would need minutes to apply the rows of all of them.
    const WRITTEN_DURING: u64 = 8;
    let cluster = set::start(2, |_| {})?;
    cluster.wait_ready(2)?;
    set::fill(&cluster)?;
    let mut writer = Some(Writer::start(&cluster)?);
    let deadline = Instant::now() + PATIENCE;
    let mut kills = 0;
    // A busy machine may look too seldom to meet the sidecar in its work. Then the loop repeats.
    while kills < 3 {
        cluster.delete_volume("mysql-1")?;
        while set::state(&cluster, "mysql-1").as_deref() != Some("replicating") {
            ensure!(Instant::now() < deadline, "replication never starts\n{}", cluster.describe());
            let pid = cluster.pid("mysql-1", "sidecar").ok();
            if cluster.signal("mysql-1", "sidecar", Signal::KILL).is_err() {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            kills += 1;
            if kills == WRITTEN_DURING {
                writer.take().map(Writer::finish).transpose()?;
            }
            cluster.wait_for("a new sidecar", PATIENCE, || {
                Ok(cluster.pid("mysql-1", "sidecar").is_ok_and(|new| Some(new) != pid))
            })?;
            // Each kill comes later than the one before, so that each of the first steps is the last one once.
            std::thread::sleep(Duration::from_millis(5 * kills));
        }
    }
    println!("the sidecar was killed {kills} times");
    cluster.wait_ready(2)?;
    writer.map(Writer::finish).transpose()?;
    set::assert_same_rows(&cluster, &["mysql-1"])
}

#[test]
fn an_interrupted_first_start_is_not_accepted_as_a_database() -> Result<()> {
    let cluster = set::start(1, |_| {})?;
    cluster.wait_for("the server's first files", PATIENCE, || {
        Ok(cluster.volume("mysql-0").join("mysql/mysql").exists())
    })?;
    // The pod is deleted before its sidecar has ever had an answer. The server may end by itself before it is killed.
    cluster.signal("mysql-0", "sidecar", Signal::STOP)?;
    cluster.delete_pod("mysql-0")?;
    let _ = cluster.signal("mysql-0", "mysql", Signal::KILL);
    let _ = cluster.signal("mysql-0", "sidecar", Signal::KILL);
    let end = set::end_of_clone_where(&cluster, "mysql-0", |end| end.exit_code != 0)?;
    assert_eq!(end.exit_code, 31, "{end:?}");
    assert!(end.is(Event::ExitFirstStart) && end.message.contains("--on-half-made"), "{end:?}");
    Ok(())
}

/// The container alone restarts. Its entrypoint accepts any directory with `mysql` in it as a database.
#[test]
fn a_server_killed_in_its_first_start_never_serves_half_a_database() -> Result<()> {
    let (mut refused, mut whole) = (0, 0);
    for round in 0..6 {
        let cluster = set::start(1, |manifests| manifests.set_env("clone", "MYSQLSET_ON_HALF_MADE", "set-aside"))?;
        let data = cluster.volume("mysql-0").join("mysql");
        // The moments lie between the first table and the temporary server's last work.
        cluster.wait_for("the first files", PATIENCE, || Ok(data.join("mysql").exists()))?;
        std::thread::sleep(Duration::from_millis(round * 180));
        cluster.signal("mysql-0", "mysql", Signal::KILL)?;
        cluster.wait_for("an end of it", PATIENCE, || {
            let (code, why) = cluster.http_get("mysql-0", 8307, "/readyz")?;
            // On some halves no server can start.
            let restarts = cluster.status("mysql-0")?.containers.get("mysql").map_or(0, |mysql| mysql.restarts);
            // A readiness that is read before the restart may be older than the kill.
            Ok(restarts > 0 && (code == 200 || why.names(Event::FirstStartInterrupted)) || restarts > 2)
        })?;
        if cluster.http_get("mysql-0", 8307, "/readyz")?.0 == 200 {
            whole += 1;
        } else {
            refused += 1;
            assert!(cluster.ready_pods().is_empty());
            assert_eq!(set::state(&cluster, "mysql-0").as_deref(), Some("initialising"));
            cluster.delete_pod("mysql-0")?;
        }
        cluster.wait_ready(1)?;
        cluster.wait_for("its server", PATIENCE, || Ok(cluster.value("mysql-0", "SELECT 1")? == "1"))?;
        set::fill(&cluster)?;
        assert_eq!(set::state(&cluster, "mysql-0").as_deref(), Some("complete"));
        set::assert_no_leftovers(&cluster, "mysql-0").or_else(|error| match error.to_string() {
            text if text.contains("-aside-") => Ok(()),
            _ => Err(error),
        })?;
    }
    println!("refused {refused} times, whole {whole} times");
    assert!(refused > 0);
    Ok(())
}

#[test]
fn a_set_comes_up_whole_after_kills_of_any_container() -> Result<()> {
    let cluster = set::start(1, |_| {})?;
    // A first start that is killed may leave half a database. Another test covers that.
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    let writer = Writer::start(&cluster)?;
    cluster.scale(3);
    let deadline = Instant::now() + PATIENCE;
    let mut kills = 0;
    while kills < 9 {
        ensure!(Instant::now() < deadline, "killed {kills} times only\n{}", cluster.describe());
        for pod in ["mysql-1", "mysql-2"] {
            for container in ["init-config", "clone", "mysql", "sidecar"] {
                if cluster.signal(pod, container, Signal::KILL).is_ok() {
                    kills += 1;
                    if kills % 4 == 0 {
                        let _ = cluster.signal("mysql-0", "sidecar", Signal::KILL);
                    }
                    // Each kill comes at a different moment of the pod's life.
                    std::thread::sleep(Duration::from_millis(kills * 37 % 400));
                }
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    cluster.wait_ready(3)?;
    writer.finish()?;
    set::assert_same_rows_of_innodb(&cluster, &["mysql-1", "mysql-2"])?;
    for pod in ["mysql-0", "mysql-1", "mysql-2"] {
        set::assert_no_leftovers(&cluster, pod)?;
    }
    Ok(())
}

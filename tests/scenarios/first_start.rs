//! Three pods come up from nothing, as on the tutorial's page.

use anyhow::Result;
use harness::logged::Said;
use harness::pods::PATIENCE;
use harness::pods::servers::tested;
use harness::set;
use mysqlset::model::event::Event;
use rustix::process::Signal;

#[test]
fn three_pods_come_up_and_replicate() -> Result<()> {
    let cluster = set::start(3, |_| {})?;
    cluster.wait_ready(3)?;
    set::fill(&cluster)?;
    set::assert_same_rows(&cluster, &["mysql-0", "mysql-1", "mysql-2"])?;

    for (ordinal, pod) in ["mysql-0", "mysql-1", "mysql-2"].into_iter().enumerate() {
        assert_eq!(cluster.value(pod, "SELECT @@server_id")?, (100 + ordinal).to_string());
        assert_eq!(cluster.value(pod, "SELECT @@read_only")?, if ordinal == 0 { "0" } else { "1" });
        let expected = if ordinal == 0 { "complete" } else { "replicating" };
        cluster.wait_for("the journal", PATIENCE, || Ok(set::journal(&cluster, pod)?["state"] == expected))?;
        assert_eq!(set::journal(&cluster, pod)?["set_id"], set::journal(&cluster, "mysql-0")?["set_id"], "{pod}");
        assert!(set::journal(&cluster, pod)?["set_id"].is_string());
        set::assert_no_leftovers(&cluster, pod)?;
    }
    for (pod, donor) in [("mysql-1", "mysql-0"), ("mysql-2", "mysql-1")] {
        assert_eq!(set::journal(&cluster, pod)?["clone"]["donor_pod"], donor);
        let status = cluster.sql(pod, "SHOW REPLICA STATUS\\G")?;
        let status: Vec<String> = status.into_iter().flatten().map(|line| line.trim().to_owned()).collect();
        for line in ["mysql-0.mysql"].into_iter().chain(tested().by_gtid()) {
            assert!(status.iter().any(|shown| shown.contains(line)), "{pod}: no {line} in {status:?}");
        }
    }
    Ok(())
}

#[test]
fn the_program_comes_from_its_image_as_a_volume() -> Result<()> {
    let cluster = set::start_from(tested().overlay, &["image-volume"], 2, |_| {})?;
    cluster.wait_ready(2)?;
    let touched = cluster.exec("mysql-1", "sidecar", &["touch", "/mysqlset/x"])?;
    assert!(!touched.status.success(), "the image can be written to");
    Ok(())
}

#[test]
fn every_sidecar_serves_its_health_and_metrics_and_stays_small() -> Result<()> {
    let cluster = set::start(2, |_| {})?;
    cluster.wait_ready(2)?;
    for (pod, role) in [("mysql-0", "primary"), ("mysql-1", "replica")] {
        for path in ["/healthz", "/readyz"] {
            assert_eq!(cluster.http_get(pod, 8307, path)?.0, 200, "{pod} {path}");
        }
        let status = cluster.status_page(pod)?;
        let status: serde_json::Value = serde_json::from_str(&status)?;
        assert_eq!(status["role"], role);
        assert!(status["server"].as_str().is_some_and(|version| tested().is_version(version)), "{status}");
        let (_, metrics) = cluster.http_get(pod, 8307, "/metrics")?;
        assert!(metrics.contains("mysqlset_server_up 1"), "{metrics}");

        let (own, program) = resident_kilobytes(cluster.pid(pod, "sidecar")?)?;
        println!("{pod}: an idle sidecar has {own} kB of its own, and {program} kB of its program");
        assert!(own < 3 << 10, "{pod}: {own} kB");
    }
    let (_, metrics) = cluster.http_get("mysql-0", 8307, "/metrics")?;
    assert!(metrics.contains("mysqlset_donor_clones_total{outcome=\"served\"} 1"), "{metrics}");
    let (_, metrics) = cluster.http_get("mysql-1", 8307, "/metrics")?;
    assert!(metrics.contains("mysqlset_replication_applier_running 1"), "{metrics}");
    Ok(())
}

/// Memory of a process: its own pages, and those of the files that it maps. The share of a mapped program depends on
/// the pieces in which the file system caches it. All containers of the pod share them.
fn resident_kilobytes(pid: u32) -> Result<(u64, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let number = |name: &str| -> Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    };
    Ok((number("RssAnon:")?, number("RssFile:")?))
}

/// The server's container was killed while it made the database, and each further start ends on the remains.
#[test]
fn an_interrupted_first_start_that_cannot_resume_is_reported_with_its_remedy() -> Result<()> {
    let cluster = set::start(1, |manifests| {
        let half = "mkdir -p /var/lib/mysql/mysql; echo x > /var/lib/mysql/ibdata1; exit 1";
        manifests.container("mysql").command = Some(["sh", "-c", half].map(str::to_owned).into());
    })?;
    cluster.wait_for("the sidecar to report it", PATIENCE, || {
        let status = cluster.status_page("mysql-0")?;
        Ok(status.names(Event::FirstStartInterrupted) && status.contains("--on-half-made set-aside"))
    })?;
    assert!(cluster.has_logged("mysql-0", "sidecar", Event::FirstStartInterrupted));
    cluster.signal("mysql-0", "sidecar", Signal::TERM)?;
    let end = || cluster.status("mysql-0").ok()?.containers.get("sidecar")?.last_termination.clone();
    cluster.wait_for("the sidecar's end", PATIENCE, || Ok(end().is_some()))?;
    assert!(end().is_some_and(|end| end.is(Event::FirstStartInterrupted)), "{:?}", end());
    Ok(())
}

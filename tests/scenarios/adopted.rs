//! Data from a source other than mysqlset: the tutorial's own volumes, whole and half.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::needs;
use harness::pods::Cluster;
use harness::pods::servers::tested;
use harness::set;
use mysqlset::model::event::Event;
use mysqlset::unpack::{Format, unpack};

/// The tutorial's pods leave no journal.
fn forget_what_mysqlset_wrote(cluster: &Cluster, pod: &str) -> Result<()> {
    Ok(std::fs::remove_file(cluster.volume(pod).join("mysql/.mysqlset.json"))?)
}

/// Two pods with rows, then none; their volumes stay.
fn stopped_set(change: impl FnOnce(&mut harness::pods::manifest::Manifests)) -> Result<Cluster> {
    let cluster = set::start(2, change)?;
    cluster.wait_ready(2)?;
    set::fill(&cluster)?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    Ok(cluster)
}

#[test]
fn whole_volumes_are_adopted_and_get_one_set_id() -> Result<()> {
    let cluster = stopped_set(|_| {})?;
    if tested().is_mariadb() {
        // By file and offset, as in the tutorial's sidecar.
        cluster.sql("mysql-1", "STOP SLAVE; CHANGE MASTER TO MASTER_USE_GTID = no; START SLAVE")?;
    }
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    cluster.scale(0);
    cluster.wait_ready(0)?;
    for pod in ["mysql-0", "mysql-1"] {
        forget_what_mysqlset_wrote(&cluster, pod)?;
    }
    cluster.scale(2);
    cluster.wait_ready(2)?;
    assert!(cluster.has_logged("mysql-1", "clone", Event::DataAdopted));
    cluster.sql("mysql-0", "INSERT INTO app.keyed (n) VALUES (-1); INSERT INTO app.keyless (n) VALUES (-1)")?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    let (primary, replica) = (set::journal(&cluster, "mysql-0")?, set::journal(&cluster, "mysql-1")?);
    assert!(primary["set_id"].is_string() && primary["set_id"] == replica["set_id"], "{primary} {replica}");
    // MariaDB's replicas are safe against power loss only by GTID.
    let status = cluster.sql("mysql-1", "SHOW REPLICA STATUS")?;
    assert!(tested().by_gtid().is_none_or(|word| status[0].iter().any(|value| value == word)), "{status:?}");
    // The adopted replica donates.
    cluster.scale(3);
    cluster.wait_ready(3)?;
    set::assert_same_rows(&cluster, &["mysql-2"])
}

/// The remains of `mbstream -x`, from a stream that was cut and from a whole one without a prepare.
fn leave_half_a_clone(cluster: &Cluster, volume: &Path, cut: bool) -> Result<()> {
    let tool = ["mariadb-backup", "--backup", "--stream=xbstream", "--user=root", "--host=127.0.0.1"];
    let output = cluster.exec("mysql-0", "sidecar", &[&tool[..], &["--datadir=/var/lib/mysql"]].concat())?;
    ensure!(output.status.success(), "the backup failed");
    let data = volume.join("mysql");
    std::fs::remove_dir_all(&data)?;
    std::fs::create_dir(&data)?;
    let end = if cut { output.stdout.len() - 2_000_000 } else { output.stdout.len() };
    let unpacked = unpack(Format::XbstreamMariaDb, &mut &output.stdout[..end], &data);
    ensure!(unpacked.is_ok() != cut, "{unpacked:?}");
    std::fs::create_dir_all(data.join("mysql"))?;
    for path in [data.clone(), data.join("mysql")] {
        std::os::unix::fs::chown(path, Some(999), Some(999))?;
    }
    Ok(())
}

#[test]
fn half_a_clone_is_refused_or_set_aside_and_never_served_or_deleted() -> Result<()> {
    needs!(BackupTool);
    for (cut, set_aside) in [(true, false), (false, false), (true, true), (false, true)] {
        let cluster = stopped_set(|manifests| {
            if set_aside {
                manifests.set_env("clone", "MYSQLSET_ON_HALF_MADE", "set-aside");
            }
        })?;
        cluster.scale(1);
        cluster.wait_ready(1)?;
        let volume = cluster.volume("mysql-1");
        leave_half_a_clone(&cluster, &volume, cut)?;
        let before = std::fs::read_dir(volume.join("mysql"))?.count();
        cluster.scale(2);
        if set_aside {
            cluster.wait_ready(2)?;
            assert_eq!(set::clones(&cluster, "mysql-1"), 2);
            set::assert_same_rows(&cluster, &["mysql-1"])?;
            let mut kept = std::fs::read_dir(&volume)?.flatten().map(|entry| entry.path());
            let kept = kept.find(|path| path.to_string_lossy().contains(".mysqlset-mysql-aside-"));
            assert_eq!(std::fs::read_dir(kept.expect("what was set aside"))?.count(), before);
        } else {
            let end = set::end_of_clone_where(&cluster, "mysql-1", |end| end.exit_code != 0)?;
            assert_eq!(end.exit_code, 30, "cut {cut}: {end:?}");
            assert_eq!(std::fs::read_dir(volume.join("mysql"))?.count(), before);
            assert_eq!(cluster.ready_pods(), ["mysql-0"]);
        }
    }
    Ok(())
}

#[test]
fn a_failed_setup_of_a_replica_is_logged_once() -> Result<()> {
    let cluster = stopped_set(|_| {})?;
    cluster.sql("mysql-1", "STOP REPLICA; RESET REPLICA ALL")?;
    cluster.scale(1);
    cluster.wait_ready(1)?;
    forget_what_mysqlset_wrote(&cluster, "mysql-1")?;
    cluster.scale(2);
    cluster.wait_for_event("mysql-1", "sidecar", Event::DataUnproven)?;
    let aborted = || cluster.logs("mysql-1", "mysql").matches("Aborted connection").count();
    let aborted_before = aborted();
    // Time for ten tries and more.
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(cluster.times_logged("mysql-1", "sidecar", Event::DataUnproven), 1);
    assert_eq!(aborted(), aborted_before, "connections are dropped");
    Ok(())
}

//! Volumes that come to another pod: by a snapshot, or by renamed claims.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use harness::needs;
use harness::pods::servers::{self, tested};
use harness::pods::{Cluster, PATIENCE, kustomize};
use harness::set;
use mysqlset::model::event::Event;

fn copy(from: &Path, to: &Path) -> Result<()> {
    let _ = std::fs::remove_dir_all(to);
    ensure!(Command::new("cp").arg("-a").args([from, to]).status()?.success());
    Ok(())
}

#[test]
fn the_primarys_data_in_a_replicas_pod_are_taken() -> Result<()> {
    needs!(Gtid);
    let cluster = set::start(2, |_| {})?;
    cluster.wait_ready(2)?;
    set::fill(&cluster)?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    cluster.scale(0);
    cluster.wait_ready(0)?;
    copy(&cluster.volume("mysql-0").join("mysql"), &cluster.volume("mysql-1").join("mysql"))?;
    cluster.scale(2);
    cluster.wait_ready(2)?;
    cluster.sql("mysql-0", "INSERT INTO app.keyed (n) VALUES (-1)")?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    let journal = set::journal(&cluster, "mysql-1")?;
    assert_eq!((journal["ordinal"].as_u64(), journal["state"].as_str()), (Some(1), Some("replicating")));
    assert_eq!(set::journal(&cluster, "mysql-0")?["ordinal"], 0);
    Ok(())
}

#[test]
fn a_replicas_data_in_the_primarys_pod_are_refused_and_left_alone() -> Result<()> {
    let cluster = set::start(2, |_| {})?;
    cluster.wait_ready(2)?;
    cluster.scale(0);
    cluster.wait_ready(0)?;
    let volume = cluster.volume("mysql-0").join("mysql");
    copy(&cluster.volume("mysql-1").join("mysql"), &volume)?;
    cluster.scale(1);
    let end = set::end_of_clone(&cluster, "mysql-0")?;
    assert!(end.exit_code == 36 && end.is(Event::ExitOtherPod), "{end:?}");
    for text in ["ordinal 1", "mysql-0", "--on-lost-primary recover"] {
        assert!(end.message.contains(text), "{text}: {end:?}");
    }
    assert_eq!(set::journal(&cluster, "mysql-0")?["ordinal"], 1);
    Ok(())
}

/// A snapshot restored beside its set. A MariaDB server that forgets its log gives out used GTIDs again.
#[test]
fn a_primarys_data_are_taken_by_a_set_of_another_name() -> Result<()> {
    needs!(Gtid);
    let cluster = set::start(1, |_| {})?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    let end = cluster.value("mysql-0", tested().end_of_log())?;
    cluster.scale(0);
    cluster.wait_ready(0)?;

    let mut manifests = servers::parse(&kustomize::build_with(tested().overlay, &[], "nameSuffix: -b")?)?;
    manifests.stateful_set.spec.replicas = 0;
    let other = Cluster::apply(None, manifests)?;
    std::fs::create_dir_all(other.volume("mysql-b-0"))?;
    copy(&cluster.volume("mysql-0").join("mysql"), &other.volume("mysql-b-0").join("mysql"))?;
    other.scale(2);
    other.wait_ready(2)?;
    if tested().is_mariadb() {
        assert_eq!(other.value("mysql-b-0", tested().end_of_log())?, end);
    }
    other.sql("mysql-b-0", "INSERT INTO app.keyed (n) VALUES (-1)")?;
    for pod in ["mysql-b-0", "mysql-b-1"] {
        let count = || other.value(pod, "SELECT COUNT(*) FROM app.keyed");
        other.wait_for(&format!("the rows in {pod}"), PATIENCE, || Ok(count()? == "301"))?;
    }
    Ok(())
}

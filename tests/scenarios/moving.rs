//! A running set of the tutorial's is moved over, as k8s/README.md tells it: two manifests applied, one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::pods::manifest::Manifests;
use crate::pods::{Cluster, PATIENCE, kustomize};
use crate::set;

const PODS: [&str; 3] = ["mysql-0", "mysql-1", "mysql-2"];

fn ours(components: &[&str]) -> Result<Manifests> {
    Manifests::parse(&kustomize::build("mariadb", components)?)
}

/// Writes a row at a time, and again where the primary is away, until it is told to stop; the rows that it was told are
/// written.
fn write_until(stop: &AtomicBool, cluster: &Cluster) -> Vec<u32> {
    let mut written = Vec::new();
    for number in 0.. {
        if stop.load(Ordering::Acquire) {
            break;
        }
        if cluster.sql("mysql-0", &format!("INSERT INTO app.rows VALUES ({number})")).is_ok() {
            written.push(number);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    written
}

fn wait_for_rows(cluster: &Cluster, pods: &[&str], written: &[u32]) -> Result<()> {
    for pod in pods {
        cluster.wait_for(&format!("all rows in {pod}"), PATIENCE, || {
            let rows = cluster.sql(pod, "SELECT number FROM app.rows")?;
            let found: std::collections::BTreeSet<u32> = rows.iter().filter_map(|row| row[0].parse().ok()).collect();
            let missing: Vec<&u32> = written.iter().filter(|number| !found.contains(number)).collect();
            ensure!(missing.is_empty(), "{} of {} rows are missing", missing.len(), written.len());
            Ok(true)
        })?;
    }
    Ok(())
}

#[test]
fn a_running_set_becomes_ours_with_no_data_copied_and_no_write_lost() -> Result<()> {
    let tutorial = Manifests::parse(include_str!("tutorial/set.yaml"))?;
    let cluster = Arc::new(Cluster::apply(set::BINARY, None, tutorial)?);
    cluster.wait_ready(3)?;
    cluster.sql("mysql-0", "CREATE DATABASE app; CREATE TABLE app.rows (number INT PRIMARY KEY)")?;
    // The tutorial's pods are ready before they replicate.
    wait_for_rows(&cluster, &PODS[1..], &[])?;
    let made = |pod: &str| std::fs::metadata(cluster.volume(pod).join("mysql/mysql")).and_then(|data| data.created());
    let before: Vec<_> = PODS.iter().map(|pod| made(pod)).collect::<std::io::Result<_>>()?;

    let stop = Arc::new(AtomicBool::new(false));
    let (stopping, writing) = (stop.clone(), cluster.clone());
    let writer = std::thread::spawn(move || write_until(&stopping, &writing));
    let moved = (|| {
        cluster.change(ours(&["moving-from-tutorial"])?);
        cluster.wait_rolled_out(3)?;
        cluster.change(ours(&[])?);
        cluster.wait_rolled_out(3)
    })();
    stop.store(true, Ordering::Release);
    let written = writer.join().expect("the writer");
    moved?;

    ensure!(written.len() > 50, "only {} rows were written", written.len());
    wait_for_rows(&cluster, &PODS, &written)?;
    for (pod, before) in PODS.iter().zip(before) {
        assert_eq!(made(pod)?, before, "{pod} has other data");
        assert_eq!(set::clones(&cluster, pod), 0, "{pod} was cloned");
        assert_eq!(set::journal(&cluster, pod)?["set_id"], set::journal(&cluster, "mysql-0")?["set_id"], "{pod}");
    }
    cluster.scale(4);
    cluster.wait_ready(4)?;
    wait_for_rows(&cluster, &["mysql-3"], &written)
}

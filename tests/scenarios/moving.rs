//! A running set of the tutorial's is moved over, as k8s/README.md tells it: two manifests applied, one after the other.

use std::os::unix::fs::{PermissionsExt, chown};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::needs;
use crate::pods::manifest::Manifests;
use crate::pods::{Cluster, PATIENCE, servers};
use crate::set;

const PODS: [&str; 3] = ["mysql-0", "mysql-1", "mysql-2"];

fn ours(components: &[&str]) -> Result<Manifests> {
    servers::manifests("mariadb", components)
}

/// Writes rows, one by one, as long as it is there; those that the primary took are noted.
struct Writer {
    written: Arc<Mutex<Vec<u32>>>,
    stop: Arc<AtomicBool>,
}

impl Writer {
    fn start(cluster: &Arc<Cluster>) -> Writer {
        let (written, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (noting, stopping, cluster) = (written.clone(), stop.clone(), cluster.clone());
        std::thread::spawn(move || {
            for number in 0.. {
                if stopping.load(Ordering::Acquire) {
                    return;
                }
                if cluster.sql("mysql-0", &format!("INSERT INTO app.rows VALUES ({number})")).is_ok() {
                    noting.lock().expect("rows").push(number);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Writer { written, stop }
    }

    fn written(&self) -> Vec<u32> {
        self.written.lock().expect("rows").clone()
    }

    /// The primary takes rows now.
    fn goes_on(&self, cluster: &Cluster) -> Result<()> {
        let before = self.written().len();
        cluster.wait_for("more rows to be written", PATIENCE, || Ok(self.written().len() > before + 10))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// As they are where the tutorial's containers run as root: the volume is root's, and so is what its sidecar wrote.
fn give_to_root(cluster: &Cluster, pod: &str) -> Result<()> {
    let volume = cluster.volume(pod);
    chown(&volume, Some(0), Some(0))?;
    std::fs::set_permissions(&volume, PermissionsExt::from_mode(0o755))?;
    for entry in std::fs::read_dir(volume.join("mysql"))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("xtrabackup_") || name.starts_with("change_master_to") {
            chown(entry.path(), Some(0), Some(0))?;
            std::fs::set_permissions(entry.path(), PermissionsExt::from_mode(0o640))?;
        }
    }
    Ok(())
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
    needs!(Tutorial);
    let tutorial = servers::parse(include_str!("tutorial/set.yaml"))?;
    let cluster = Arc::new(Cluster::apply(set::BINARY, None, tutorial)?);
    cluster.wait_ready(3)?;
    cluster.sql("mysql-0", "CREATE DATABASE app; CREATE TABLE app.rows (number INT PRIMARY KEY)")?;
    // The tutorial's pods are ready before they replicate.
    wait_for_rows(&cluster, &PODS[1..], &[])?;
    let made = |pod: &str| std::fs::metadata(cluster.volume(pod).join("mysql/mysql")).and_then(|data| data.created());
    let before: Vec<_> = PODS.iter().map(|pod| made(pod)).collect::<std::io::Result<_>>()?;

    let writer = Writer::start(&cluster);
    writer.goes_on(&cluster)?;
    PODS.iter().try_for_each(|pod| give_to_root(&cluster, pod))?;
    cluster.label_pods("app.kubernetes.io/instance", "mysql");
    cluster.change(ours(&["moving-from-tutorial"])?);
    cluster.wait_rolled_out(3)?;
    writer.goes_on(&cluster)?;
    cluster.change(ours(&[])?);
    cluster.wait_rolled_out(3)?;
    writer.goes_on(&cluster)?;

    let written = writer.written();
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

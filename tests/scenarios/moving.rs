//! A running set of the tutorial is moved over as docs/guide/from-the-tutorial.md describes: two manifests, applied one
//! after the other.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::needs;
use harness::pods::manifest::Manifests;
use harness::pods::{Cluster, PATIENCE, servers};
use harness::set;

const PODS: [&str; 3] = ["mysql-0", "mysql-1", "mysql-2"];

fn ours(components: &[&str]) -> Result<Manifests> {
    servers::manifests("mariadb", components)
}

/// Writes rows one by one until it is dropped, and notes those that the primary accepted.
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

    /// Waits until the primary accepts rows again.
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

/// Volumes as the tutorial's root containers leave them: the volume belongs to root, and so do the sidecar's files.
fn give_to_root(cluster: &Cluster, pod: &str, data: &Path) -> Result<()> {
    let volume = cluster.volume(pod);
    chown(&volume, Some(0), Some(0))?;
    std::fs::set_permissions(&volume, PermissionsExt::from_mode(0o755))?;
    for entry in std::fs::read_dir(data)?.flatten() {
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

/// The page at one time, and the consequences for its volumes.
struct Generation {
    manifest: String,
    /// The place of the data on a volume.
    data: &'static str,
    /// The component that our overlay adds for it, in both steps.
    component: Option<&'static str>,
    pods: u32,
}

/// From 2020 on, except for three months in 2022.
fn page() -> Generation {
    let manifest = include_str!("tutorial/set.yaml").to_owned();
    Generation { manifest, data: "mysql", component: None, pods: 3 }
}

/// A change of the manifest, which must have an effect.
fn changed(manifest: &str, from: &str, to: &str) -> Result<String> {
    ensure!(manifest.contains(from), "the tutorial's manifest has no {from:?}");
    Ok(manifest.replace(from, to))
}

/// From 2017 to 2020.
fn page_with_masters_and_slaves() -> Result<Generation> {
    let mut manifest = page().manifest;
    for (from, to) in [
        ("primary.cnf: |", "master.cnf: |"),
        ("replica.cnf: |", "slave.cnf: |"),
        ("role=primary", "role=master"),
        ("role=replica", "role=slave"),
    ] {
        manifest = changed(&manifest, from, to)?;
    }
    Ok(Generation { manifest, ..page() })
}

/// From November 2016 to 2017: the volume's root is the data directory.
fn first_page() -> Result<Generation> {
    let manifest = page_with_masters_and_slaves()?.manifest;
    let manifest = changed(&manifest, "              subPath: mysql\n", "")?;
    Ok(Generation { manifest, data: "", component: Some("volume-root"), pods: 3 })
}

/// From April to June 2022: the data are one directory further down. Recipients unpacked a clone at a place that no
/// server read, so there is a primary only.
fn page_with_nested_data() -> Result<Generation> {
    let nested = "    log-bin\n    datadir=/var/lib/mysql/mysql\n";
    let manifest = changed(&page().manifest, "    log-bin\n", nested)?;
    let manifest = changed(&manifest, "  replicas: 3\n", "  replicas: 1\n")?;
    Ok(Generation { manifest, data: "mysql/mysql", component: Some("nested-data"), pods: 1 })
}

/// Since 2022 the selectors have a second label.
fn todays_page() -> Result<Generation> {
    let mut manifest = page().manifest;
    for indent in ["      ", "        "] {
        let line = format!("\n{indent}app: mysql\n");
        manifest = changed(&manifest, &line, &format!("{line}{indent}app.kubernetes.io/name: mysql\n"))?;
    }
    // A Service's selector has the same depth as a set's, and keeps a single label.
    Ok(Generation { manifest, ..page() })
}

/// Moves a set over as docs/guide/from-the-tutorial.md describes, under writes.
fn move_over(generation: &Generation) -> Result<()> {
    let count = generation.pods as usize;
    let pods = &PODS[..count];
    let cluster = Arc::new(Cluster::apply(None, servers::parse(&generation.manifest)?)?);
    cluster.wait_ready(count)?;
    cluster.sql("mysql-0", "CREATE DATABASE app; CREATE TABLE app.rows (number INT PRIMARY KEY)")?;
    // The tutorial's pods are ready before they replicate.
    wait_for_rows(&cluster, &pods[1..], &[])?;
    let data = |pod: &str| cluster.volume(pod).join(generation.data);
    let made = |pod: &str| std::fs::metadata(data(pod).join("mysql")).and_then(|data| data.created());
    let before: Vec<_> = pods.iter().map(|pod| made(pod)).collect::<std::io::Result<_>>()?;

    let writer = Writer::start(&cluster);
    writer.goes_on(&cluster)?;
    pods.iter().try_for_each(|pod| give_to_root(&cluster, pod, &data(pod)))?;
    cluster.label_pods("app.kubernetes.io/instance", "mysql");
    for first in [&["moving-from-tutorial"][..], &[]] {
        let components: Vec<&str> = first.iter().copied().chain(generation.component).collect();
        let mut manifests = ours(&components)?;
        manifests.stateful_set.spec.replicas = generation.pods;
        cluster.change(manifests);
        cluster.wait_rolled_out(count)?;
        writer.goes_on(&cluster)?;
    }

    let written = writer.written();
    wait_for_rows(&cluster, pods, &written)?;
    let set_id = |pod: &str| -> Result<serde_json::Value> {
        let journal: serde_json::Value = serde_json::from_slice(&std::fs::read(data(pod).join(".mysqlset.json"))?)?;
        ensure!(journal["set_id"].is_string(), "{pod}: {journal}");
        Ok(journal["set_id"].clone())
    };
    for (pod, before) in pods.iter().zip(before) {
        assert_eq!(made(pod)?, before, "{pod} has other data");
        assert_eq!(set::clones(&cluster, pod), 0, "{pod} was cloned");
        assert_eq!(set_id(pod)?, set_id("mysql-0")?, "{pod}");
    }
    cluster.scale(generation.pods + 1);
    cluster.wait_ready(count + 1)?;
    wait_for_rows(&cluster, &[&format!("mysql-{count}")], &written)
}

#[test]
fn a_running_set_becomes_ours_with_no_data_copied_and_no_write_lost() -> Result<()> {
    needs!(Tutorial);
    move_over(&page())
}

#[test]
fn a_running_set_with_keys_for_masters_and_slaves_becomes_ours() -> Result<()> {
    needs!(Tutorial);
    move_over(&page_with_masters_and_slaves()?)
}

#[test]
fn a_running_set_of_the_first_page_becomes_ours_with_data_at_the_volumes_root() -> Result<()> {
    needs!(Tutorial);
    move_over(&first_page()?)
}

#[test]
fn a_running_primary_with_nested_data_becomes_ours() -> Result<()> {
    needs!(Tutorial);
    move_over(&page_with_nested_data()?)
}

#[test]
fn a_running_set_of_todays_page_becomes_ours() -> Result<()> {
    needs!(Tutorial);
    move_over(&todays_page()?)
}

/// Without the label the set waits beside the tutorial's pods, and these stay unchanged.
#[test]
fn pods_without_the_sets_label_are_left_alone() -> Result<()> {
    needs!(Tutorial);
    let cluster = Cluster::apply(None, servers::parse(&page_with_nested_data()?.manifest)?)?;
    cluster.wait_ready(1)?;
    let before = cluster.status("mysql-0")?.uid;
    cluster.change(ours(&["moving-from-tutorial"])?);
    cluster.wait_for("the set to see the pod", PATIENCE, || {
        Ok(cluster.events().iter().any(|event| event.contains("it lacks labels of the selector")))
    })?;
    assert_eq!(cluster.status("mysql-0")?.uid, before);
    assert_eq!(cluster.ready_pods(), ["mysql-0"]);
    Ok(())
}

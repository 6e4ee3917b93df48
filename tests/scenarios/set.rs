//! A set with data in it, and what all its members must have in common.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mysqlset::model::event::Event;

use crate::pods::container::Termination;
use crate::pods::manifest::Manifests;
use crate::pods::servers::{self, tested};
use crate::pods::{Cluster, PASSWORDS, PATIENCE, conditions};

pub const BINARY: &str = env!("CARGO_BIN_EXE_mysqlset");

/// Tables that a killed server keeps, with a key and without one.
pub const INNODB_TABLES: [&str; 2] = ["app.keyed", "app.keyless"];

/// These, and tables outside InnoDB, where the tested server's clones have them.
pub fn tables() -> &'static [&'static str] {
    if tested().is_mariadb() { &["app.keyed", "app.keyless", "app.aria", "app.myisam"] } else { &INNODB_TABLES }
}

const SCHEMA: &str = "CREATE DATABASE app;
    CREATE TABLE app.keyed (id INT AUTO_INCREMENT PRIMARY KEY, n INT, text VARCHAR(200));
    CREATE TABLE app.keyless (n INT, text VARCHAR(200));";

const MARIADBS_SCHEMA: &str = "
    CREATE TABLE app.aria (n INT, text VARCHAR(200)) ENGINE = Aria;
    CREATE TABLE app.myisam (n INT, text VARCHAR(200)) ENGINE = MyISAM;";

/// Starts so many pods from the manifests that are shipped for the tested server, changed by the test.
pub fn start(replicas: u32, change: impl FnOnce(&mut Manifests)) -> Result<Cluster> {
    Cluster::start(BINARY, None, |manifests| {
        manifests.stateful_set.spec.replicas = replicas;
        change(manifests);
    })
}

/// The same as the guide's first commands install it: with passwords, a clone secret and a network policy.
pub fn start_closed(components: &[&str], replicas: u32) -> Result<Cluster> {
    start_from(tested().overlay_with_passwords, components, replicas, give_passwords)
}

/// Makes the Secret, of passwords that are good enough for any of the servers' own checks.
pub fn give_passwords(manifests: &mut Manifests) {
    let keys = ["root", "clone", "backup", "replication", "monitoring"];
    let keys = keys.map(|key| (key.to_owned(), format!("Gut-genug-2024!{key}")));
    manifests.secrets.insert(PASSWORDS.to_owned(), keys.into());
}

/// The same where only who knows a clone secret is given anything.
pub fn start_with_secret(replicas: u32, secret: &str) -> Result<Cluster> {
    start(replicas, |manifests| {
        manifests.container("sidecar").env.retain(|variable| variable.name != "MYSQLSET_DONATE_TO_ANYONE");
        for container in ["clone", "sidecar"] {
            manifests.set_env(container, "MYSQLSET_CLONE_SECRET", secret);
        }
    })
}

/// The same under conditions, which are named as in `FIELD_CONDITION`.
pub fn start_under(names: &str, replicas: u32, change: impl FnOnce(&mut Manifests)) -> Result<Cluster> {
    let mut manifests = servers::manifests(tested().overlay, &[])?;
    manifests.stateful_set.spec.replicas = replicas;
    change(&mut manifests);
    Cluster::apply_under(&conditions::named(names)?, BINARY, None, manifests)
}

/// The same from an overlay with components.
pub fn start_from(
    overlay: &str,
    components: &[&str],
    replicas: u32,
    change: impl FnOnce(&mut Manifests),
) -> Result<Cluster> {
    let mut manifests = servers::manifests(overlay, components)?;
    manifests.stateful_set.spec.replicas = replicas;
    change(&mut manifests);
    Cluster::apply(BINARY, None, manifests)
}

/// Has the primary notice soon that a replica is gone which it was sending to: its successor waits for that, by the
/// server's default for up to a minute.
pub fn notice_gone_replicas_soon(manifests: &mut Manifests) {
    manifests.server_files().for_each(|file| file.push_str("net_write_timeout = 3\n"));
}

/// Makes the tables, with some rows in them.
pub fn fill(cluster: &Cluster) -> Result<()> {
    cluster.sql("mysql-0", SCHEMA)?;
    if tested().is_mariadb() {
        cluster.sql("mysql-0", MARIADBS_SCHEMA)?;
    }
    for table in tables() {
        let numbers = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 300)";
        let insert = format!("INSERT INTO {table} (n, text) {numbers} SELECT n, REPEAT('x', n % 200) FROM numbers");
        cluster.sql("mysql-0", &insert)?;
    }
    Ok(())
}

/// Makes a clone take a while: megabytes that don't compress into a hole.
pub fn fill_much(cluster: &Cluster, megabytes: u32) -> Result<()> {
    cluster.sql("mysql-0", "CREATE TABLE app.bulk (id INT PRIMARY KEY, data LONGBLOB)")?;
    for id in 0..megabytes {
        cluster.sql("mysql-0", &format!("INSERT INTO app.bulk VALUES ({id}, REPEAT(SHA2(RAND(), 512), 8192))"))?;
    }
    Ok(())
}

/// Writes until nothing more fits.
pub fn fill_up(path: &Path) -> Result<()> {
    let mut file = std::fs::File::create(path)?;
    for size in [1 << 20, 4096, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
    Ok(())
}

/// Waits until a replica has applied all that the primary has written, then compares every table.
pub fn assert_same_rows(cluster: &Cluster, pods: &[&str]) -> Result<()> {
    assert_same_rows_in(tables(), cluster, pods)
}

/// The same for InnoDB's tables.
pub fn assert_same_rows_of_innodb(cluster: &Cluster, pods: &[&str]) -> Result<()> {
    assert_same_rows_in(&INNODB_TABLES, cluster, pods)
}

fn assert_same_rows_in(tables: &[&str], cluster: &Cluster, pods: &[&str]) -> Result<()> {
    let tables = tables.join(", ");
    let checksums = |pod: &str| cluster.sql(pod, &format!("CHECKSUM TABLE {tables}"));
    for pod in pods {
        let end = cluster.sql("mysql-0", tested().end_of_log())?.into_iter().next().context("no end of the log")?;
        if *pod != "mysql-0" {
            let reached = cluster.value(pod, &tested().reach(&end)?)?;
            ensure!(reached == "1", "{pod} does not reach {end:?}\n{}", replication(cluster, pod));
        }
        let (expected, found) = (checksums("mysql-0")?, checksums(pod)?);
        ensure!(found == expected, "{pod} has {found:?}, mysql-0 {expected:?}\n{}", cluster.describe());
    }
    Ok(())
}

/// Both ends of a replication that stands still, and all else.
fn replication(cluster: &Cluster, pod: &str) -> String {
    let source = cluster.sql("mysql-0", "SHOW PROCESSLIST");
    let replica = cluster.sql(pod, "SHOW REPLICA STATUS");
    format!("mysql-0: {source:#?}\n{pod}: {replica:?}\n{}", cluster.describe())
}

/// The journal of a pod's data directory.
pub fn journal(cluster: &Cluster, pod: &str) -> Result<serde_json::Value> {
    let path = cluster.volume(pod).join("mysql/.mysqlset.json");
    let text = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    Ok(serde_json::from_slice(&text)?)
}

/// The journal's state, in the data directory or else in the stage.
pub fn state(cluster: &Cluster, pod: &str) -> Option<String> {
    let volume = cluster.volume(pod);
    let places = ["mysql/.mysqlset.json", ".mysqlset-mysql-stage/.mysqlset.json"];
    let text = places.iter().find_map(|place| std::fs::read(volume.join(place)).ok())?;
    let journal: serde_json::Value = serde_json::from_slice(&text).ok()?;
    Some(journal.get("state")?.as_str()?.to_owned())
}

/// Nothing of ours lies about but the journal; the scratch directory may be there, empty.
pub fn assert_no_leftovers(cluster: &Cluster, pod: &str) -> Result<()> {
    let volume = cluster.volume(pod);
    let mut found = Vec::new();
    for directory in [volume.clone(), volume.join("mysql"), volume.join(".mysqlset-mysql-scratch")] {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(".mysqlset") && name != ".mysqlset.json" && name != ".mysqlset-mysql-scratch"
                || name.starts_with("mysqlset-backup-")
            {
                found.push(entry.path());
            }
        }
    }
    ensure!(found.is_empty(), "{pod}: left behind: {found:?}");
    Ok(())
}

/// How often a pod's data were cloned, by its logs.
pub fn clones(cluster: &Cluster, pod: &str) -> usize {
    cluster.times_logged(pod, "clone", Event::ClonePublished)
}

/// Waits until a pod's log holds a text that no event names.
pub fn wait_for_log(cluster: &Cluster, pod: &str, container: &str, text: &str) -> Result<()> {
    cluster.wait_for(&format!("{text:?} in the log of {pod}'s {container}"), PATIENCE, || {
        Ok(cluster.logs(pod, container).contains(text))
    })
}

/// How a pod's clone ended the last time, once it has.
pub fn end_of_clone(cluster: &Cluster, pod: &str) -> Result<Termination> {
    end_of_clone_where(cluster, pod, |_| true)
}

/// The same for an end of a certain kind.
pub fn end_of_clone_where(
    cluster: &Cluster,
    pod: &str,
    expected: impl Fn(&Termination) -> bool,
) -> Result<Termination> {
    let end = || cluster.status(pod).ok()?.containers.get("clone")?.last_termination.clone().filter(&expected);
    cluster.wait_for(&format!("the end of {pod}'s clone"), PATIENCE, || Ok(end().is_some()))?;
    end().context("an end")
}

/// Between two rows of each table: a replica on a busy machine must be able to follow. As many times longer where a condition
/// makes it slow.
const BETWEEN_ROWS: Duration = Duration::from_millis(20);

/// Writes rows into tables of the primary, one transaction each, until it is stopped.
pub struct Writer {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<()>>>,
    client: Arc<std::sync::Mutex<Child>>,
}

impl Writer {
    /// Into tables of every kind.
    pub fn start(cluster: &Cluster) -> Result<Writer> {
        Writer::start_in(tables(), cluster)
    }

    pub fn start_in(tables: &'static [&'static str], cluster: &Cluster) -> Result<Writer> {
        let mut command = cluster.client_of_root("mysql-0")?;
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        let mut client = command.spawn()?;
        let mut input = client.stdin.take().context("the client's input")?;
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopping, counting) = (stop.clone(), written.clone());
        let pause = BETWEEN_ROWS * cluster.shared.surroundings.patience;
        let thread = std::thread::spawn(move || {
            while !stopping.load(Ordering::Acquire) {
                for table in tables {
                    let number = counting.fetch_add(1, Ordering::Relaxed);
                    writeln!(input, "INSERT INTO {table} (n, text) VALUES ({number}, UUID());")
                        .context("the primary is gone")?;
                }
                input.flush()?;
                std::thread::sleep(pause);
            }
            Ok(())
        });
        Ok(Writer { stop, written, thread: Some(thread), client: Arc::new(std::sync::Mutex::new(client)) })
    }

    /// Rows so far.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Stops writing, waits for the last row, and says how many there were.
    pub fn finish(mut self) -> Result<u64> {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
        }
        let status = self.client.lock().expect("client").wait()?;
        ensure!(status.success(), "a write failed: the client ended with {status}");
        Ok(self.written.load(Ordering::Relaxed))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if self.thread.is_some() {
            let _ = self.client.lock().expect("client").kill();
        }
    }
}

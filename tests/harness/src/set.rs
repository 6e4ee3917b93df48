//! A set with data in it, and the state that all its members must share.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use mysqlset::model::event::Event;

use crate::logged::Said;
use crate::pods::container::Termination;
use crate::pods::manifest::Manifests;
use crate::pods::servers::{self, tested};
use crate::pods::{Cluster, PASSWORDS, PATIENCE, conditions};

/// InnoDB's tables, which survive a killed server: one has a key, one has none.
pub const INNODB_TABLES: [&str; 2] = ["app.keyed", "app.keyless"];

/// All tables that [`fill`] makes. Clones of MariaDB copy tables outside InnoDB too.
pub fn tables() -> &'static [&'static str] {
    if tested().is_mariadb() { &["app.keyed", "app.keyless", "app.aria", "app.myisam"] } else { &INNODB_TABLES }
}

const SCHEMA: &str = "CREATE DATABASE app;
    CREATE TABLE app.keyed (id INT AUTO_INCREMENT PRIMARY KEY, n INT, text VARCHAR(200));
    CREATE TABLE app.keyless (n INT, text VARCHAR(200));";

const MARIADBS_SCHEMA: &str = "
    CREATE TABLE app.aria (n INT, text VARCHAR(200)) ENGINE = Aria;
    CREATE TABLE app.myisam (n INT, text VARCHAR(200)) ENGINE = MyISAM;";

/// Starts this many pods from the shipped manifests of the tested server. The test may change them before.
pub fn start(replicas: u32, change: impl FnOnce(&mut Manifests)) -> Result<Cluster> {
    Cluster::start(None, |manifests| {
        manifests.stateful_set.spec.replicas = replicas;
        change(manifests);
    })
}

/// Starts a set as the guide's first commands install it: with passwords, a clone secret and a network policy.
pub fn start_closed(components: &[&str], replicas: u32) -> Result<Cluster> {
    start_from(tested().overlay_with_passwords, components, replicas, give_passwords)
}

/// Makes the Secret. Its passwords pass the checks of every server.
pub fn give_passwords(manifests: &mut Manifests) {
    let keys = ["root", "clone", "backup", "replication", "monitoring"];
    let keys = keys.map(|key| (key.to_owned(), format!("Gut-genug-2024!{key}")));
    manifests.secrets.insert(PASSWORDS.to_owned(), keys.into());
}

/// Starts a set that serves clones only to recipients that prove the clone secret.
pub fn start_with_secret(replicas: u32, secret: &str) -> Result<Cluster> {
    start(replicas, |manifests| {
        manifests.container("sidecar").env.retain(|variable| variable.name != "MYSQLSET_DONATE_TO_ANYONE");
        for container in ["clone", "sidecar"] {
            manifests.set_env(container, "MYSQLSET_CLONE_SECRET", secret);
        }
    })
}

/// Starts a set under conditions, with their names in `FIELD_CONDITION`.
pub fn start_under(names: &str, replicas: u32, change: impl FnOnce(&mut Manifests)) -> Result<Cluster> {
    let mut manifests = servers::manifests(tested().overlay, &[])?;
    manifests.stateful_set.spec.replicas = replicas;
    change(&mut manifests);
    Cluster::apply_under(&conditions::named(names)?, None, manifests)
}

/// Starts a set from another overlay, with components.
pub fn start_from(
    overlay: &str,
    components: &[&str],
    replicas: u32,
    change: impl FnOnce(&mut Manifests),
) -> Result<Cluster> {
    let mut manifests = servers::manifests(overlay, components)?;
    manifests.stateful_set.spec.replicas = replicas;
    change(&mut manifests);
    Cluster::apply(None, manifests)
}

/// Has the primary notice within seconds that a replica is gone. The replica's successor waits for that; the server's
/// default is up to a minute.
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

/// Makes a clone take a while, with megabytes of incompressible data.
pub fn fill_much(cluster: &Cluster, megabytes: u32) -> Result<()> {
    cluster.sql("mysql-0", "CREATE TABLE app.bulk (id INT PRIMARY KEY, data LONGBLOB)")?;
    for id in 0..megabytes {
        cluster.sql("mysql-0", &format!("INSERT INTO app.bulk VALUES ({id}, REPEAT(SHA2(RAND(), 512), 8192))"))?;
    }
    Ok(())
}

/// Writes until the volume is full.
pub fn fill_up(path: &Path) -> Result<()> {
    let mut file = std::fs::File::create(path)?;
    for size in [1 << 20, 4096, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
    Ok(())
}

/// Waits until a replica has applied all the primary's writes, then compares every table.
pub fn assert_same_rows(cluster: &Cluster, pods: &[&str]) -> Result<()> {
    assert_same_rows_in(tables(), cluster, pods)
}

/// Compares InnoDB's tables only.
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

/// Both ends of a stopped replication, and a description of the cluster.
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

/// Fails if mysqlset has left anything beside the journal and an empty scratch directory.
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

/// The number of clones of a pod, by its logs.
pub fn clones(cluster: &Cluster, pod: &str) -> usize {
    cluster.times_logged(pod, "clone", Event::ClonePublished)
}

/// Bytes of the stream, bytes on the wire and seconds of the clone that mysql-0 served.
pub fn served(cluster: &Cluster) -> Result<(u64, u64, f64)> {
    let log = cluster.logs("mysql-0", "sidecar");
    let line = log.lines_of(Event::DonorCloneServed).into_iter().next().context("no clone was served")?;
    let value = |name: &str| line.number(name).with_context(|| format!("no {name} in {}", line.text));
    Ok((value("bytes")? as u64, value("sent")? as u64, value("seconds")?))
}

/// Waits until a pod's log holds a text, such as a server's own words. Events have `Cluster::wait_for_event`.
pub fn wait_for_log(cluster: &Cluster, pod: &str, container: &str, text: &str) -> Result<()> {
    cluster.wait_for(&format!("{text:?} in the log of {pod}'s {container}"), PATIENCE, || {
        Ok(cluster.logs(pod, container).contains(text))
    })
}

/// Waits for the end of a pod's clone, and returns its last termination.
pub fn end_of_clone(cluster: &Cluster, pod: &str) -> Result<Termination> {
    end_of_clone_where(cluster, pod, |_| true)
}

/// Waits for an end of a certain kind.
pub fn end_of_clone_where(
    cluster: &Cluster,
    pod: &str,
    expected: impl Fn(&Termination) -> bool,
) -> Result<Termination> {
    let end = || cluster.status(pod).ok()?.containers.get("clone")?.last_termination.clone().filter(&expected);
    cluster.wait_for(&format!("the end of {pod}'s clone"), PATIENCE, || Ok(end().is_some()))?;
    end().context("an end")
}

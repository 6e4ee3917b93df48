//! The main scenarios, each short: a set's first start, and one thing that happens to it.

use anyhow::{Result, ensure};
use harness::pods::conditions::{Condition, Fault, Surroundings};
use harness::pods::servers::{self, tested};
use harness::pods::{Cluster, PATIENCE};
use harness::set;
use harness::writer::Writer;
use rustix::process::Signal;

type Conditions = [&'static dyn Condition];

pub type Scenario = fn(&Conditions) -> Result<()>;

/// The scenarios, each with its name.
pub const ALL: [(&str, Scenario); 5] = [
    ("first-start", first_start),
    ("scale", scale),
    ("volume-deletion", volume_deletion),
    ("restart", restart),
    ("primary-loss", primary_loss),
];

/// A set that is ready and has rows. The initial fault of a condition was reported and mended by then.
fn start(conditions: &Conditions, replicas: u32) -> Result<Cluster> {
    let needs_accounts = conditions.iter().any(|condition| condition.needs_accounts());
    let overlay = if needs_accounts { tested().overlay_with_passwords } else { tested().overlay };
    let mut manifests = servers::manifests(overlay, &[])?;
    manifests.stateful_set.spec.replicas = replicas;
    if needs_accounts {
        set::give_passwords(&mut manifests);
    }
    // This matters only once the primary is lost.
    manifests.set_env("clone", "MYSQLSET_ON_LOST_PRIMARY", "recover");
    set::notice_gone_replicas_soon(&mut manifests);
    let cluster = Cluster::apply_under(conditions, None, manifests)?;
    if let Some(fault) = Surroundings::under(conditions).storage.fault {
        see_refused(&cluster, fault)?;
        cluster.mend_volume("mysql-1")?;
    }
    cluster.wait_ready(replicas as usize)?;
    set::fill(&cluster)?;
    Ok(cluster)
}

/// `clone` refuses a volume that it cannot write to, with a documented code and a message that names the fault.
fn see_refused(cluster: &Cluster, fault: Fault) -> Result<()> {
    let end = set::end_of_clone(cluster, "mysql-1")?;
    let words: &[&str] = match fault {
        Fault::ReadOnly => &["ead-only file system"],
        Fault::Full => &["room", "space"],
    };
    let is_said = words.iter().any(|word| end.message.contains(word)) && end.message.contains("/volume");
    ensure!(is_said && end.exit_code > 1, "mysql-1's volume is wrong ({fault:?}), and its clone says {end:?}");
    Ok(())
}

fn replicas(count: u32) -> Vec<String> {
    (1..count).map(|ordinal| format!("mysql-{ordinal}")).collect()
}

/// One row more, in all.
fn assert_replicate(cluster: &Cluster, count: u32) -> Result<()> {
    cluster.sql("mysql-0", "INSERT INTO app.keyed (n) VALUES (-1)")?;
    let replicas = replicas(count);
    set::assert_same_rows(cluster, &replicas.iter().map(String::as_str).collect::<Vec<_>>())
}

fn first_start(conditions: &Conditions) -> Result<()> {
    let cluster = start(conditions, 3)?;
    assert_replicate(&cluster, 3)
}

/// Adds one pod under writes, and removes it again.
fn scale(conditions: &Conditions) -> Result<()> {
    let cluster = start(conditions, 2)?;
    let writer = Writer::start(&cluster)?;
    cluster.scale(3);
    cluster.wait_ready(3)?;
    writer.finish()?;
    assert_replicate(&cluster, 3)?;
    cluster.scale(2);
    cluster.wait_ready(2)?;
    assert_replicate(&cluster, 2)
}

fn volume_deletion(conditions: &Conditions) -> Result<()> {
    let cluster = start(conditions, 2)?;
    cluster.delete_volume("mysql-1")?;
    cluster.wait_ready(2)?;
    assert_replicate(&cluster, 2)
}

/// Every container dies, then every pod goes.
fn restart(conditions: &Conditions) -> Result<()> {
    let cluster = start(conditions, 2)?;
    for pod in ["mysql-0", "mysql-1"] {
        for container in ["mysql", "sidecar"] {
            let before = cluster.pid(pod, container)?;
            cluster.signal(pod, container, Signal::KILL)?;
            cluster.wait_for(&format!("another {container}"), PATIENCE, || {
                Ok(cluster.pid(pod, container).is_ok_and(|pid| pid != before))
            })?;
        }
    }
    cluster.wait_ready(2)?;
    for pod in ["mysql-1", "mysql-0"] {
        let before = cluster.status(pod)?.uid;
        cluster.delete_pod(pod)?;
        cluster.wait_for(&format!("another {pod}"), PATIENCE, || {
            Ok(cluster.status(pod).is_ok_and(|status| status.uid != before))
        })?;
    }
    cluster.wait_ready(2)?;
    cluster.sql("mysql-0", "INSERT INTO app.keyed (n) VALUES (-1)")?;
    // A killed server may lose rows outside InnoDB.
    set::assert_same_rows_of_innodb(&cluster, &["mysql-1"])
}

fn primary_loss(conditions: &Conditions) -> Result<()> {
    let cluster = start(conditions, 2)?;
    assert_replicate(&cluster, 2)?;
    let rows = |pod: &str| cluster.value(pod, "SELECT COUNT(*) FROM app.keyed");
    let before = rows("mysql-1")?;
    cluster.delete_volume("mysql-0")?;
    cluster.wait_ready(2)?;
    let after = rows("mysql-0")?;
    ensure!(after == before, "the primary came back with {after} rows of {before}");
    assert_replicate(&cluster, 2)
}

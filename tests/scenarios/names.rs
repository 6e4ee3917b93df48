//! Names as clusters give them: of sets, of hosts, of domains. Name servers that are slow or stale. The conditions in
//! `tests/harness/src/pods/conditions.rs` run other scenarios under them too.

use anyhow::Result;
use harness::pods::PATIENCE;
use harness::set;

/// A part of its name looks like another pod's ordinal.
#[test]
fn a_set_may_have_numbers_in_its_name() -> Result<()> {
    let cluster = set::start(2, |manifests| manifests.stateful_set.metadata.name = "db-1-mysql".to_owned())?;
    cluster.wait_ready(2)?;
    for (pod, id) in [("db-1-mysql-0", "100"), ("db-1-mysql-1", "101")] {
        assert_eq!(cluster.value(pod, "SELECT @@server_id")?, id, "{pod}");
    }
    cluster.sql(
        "db-1-mysql-0",
        "CREATE DATABASE app; CREATE TABLE app.t (id INT PRIMARY KEY); INSERT INTO app.t VALUES (1)",
    )?;
    cluster.wait_for("the row", PATIENCE, || Ok(cluster.value("db-1-mysql-1", "SELECT id FROM app.t")? == "1"))?;
    assert_eq!(set::journal(&cluster, "db-1-mysql-1")?["clone"]["donor_pod"], "db-1-mysql-0");
    Ok(())
}

/// Every lookup takes five seconds, longer than the sidecar waits at once for the primary's answer.
#[test]
fn a_slow_name_server_makes_a_set_slow_and_nothing_else() -> Result<()> {
    let cluster = set::start_under("slow-name-server,other-domain,fully-qualified-hostnames", 2, |_| {})?;
    cluster.wait_ready(2)?;
    set::fill(&cluster)?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    let hostname = cluster.exec("mysql-1", "mysql", &["cat", "/proc/sys/kernel/hostname"])?;
    assert_eq!(String::from_utf8_lossy(&hostname.stdout), "mysql-1.mysql.default.svc.k8s.example.org\n");
    Ok(())
}

/// For a while the primary's name leads to its old address.
#[test]
fn a_stale_address_of_the_primary_is_waited_out() -> Result<()> {
    let cluster = set::start_under("stale-name-server", 2, |_| {})?;
    cluster.wait_ready(2)?;
    set::fill(&cluster)?;
    let before = cluster.status("mysql-0")?.uid;
    cluster.delete_pod("mysql-0")?;
    cluster.wait_for("a new mysql-0", PATIENCE, || Ok(cluster.status("mysql-0")?.uid != before))?;
    cluster.wait_ready(2)?;
    cluster.sql("mysql-0", "INSERT INTO app.keyed (n) VALUES (-1)")?;
    cluster.wait_for("replication to go on", PATIENCE, || {
        Ok(cluster.value("mysql-1", "SELECT COUNT(*) FROM app.keyed WHERE n = -1")? == "1")
    })
}

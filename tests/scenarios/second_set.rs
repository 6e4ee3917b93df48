//! Names that differ from the manifests': those of a second set in a namespace, and of a node.

use anyhow::Result;
use harness::pods::servers::{self, tested};
use harness::pods::{Cluster, kustomize};
use harness::set;

#[test]
fn sets_with_a_suffix_and_with_a_prefix_come_up_and_replicate() -> Result<()> {
    for (lines, name) in [("nameSuffix: -b", "mysql-b"), ("namePrefix: db-1-", "db-1-mysql")] {
        let mut manifests = servers::parse(&kustomize::build_with(tested().overlay, &[], lines)?)?;
        manifests.stateful_set.spec.replicas = 2;
        let cluster = Cluster::apply(None, manifests)?;
        cluster.wait_ready(2)?;
        let [primary, replica] = [0, 1].map(|ordinal| format!("{name}-{ordinal}"));
        cluster.sql(
            &primary,
            "CREATE DATABASE app; CREATE TABLE app.t (n INT PRIMARY KEY); INSERT INTO app.t VALUES (7)",
        )?;
        cluster.wait_for("the row", harness::pods::PATIENCE, || {
            Ok(cluster.value(&replica, "SELECT n FROM app.t")? == "7")
        })?;
        assert_eq!(set::journal(&cluster, &replica)?["clone"]["donor_pod"], primary.as_str());
    }
    Ok(())
}

/// The node's name ends in another pod's ordinal.
#[test]
fn a_pod_in_its_nodes_network_goes_by_its_own_name() -> Result<()> {
    let cluster = set::start(2, |manifests| manifests.stateful_set.spec.template.spec.host_network = true)?;
    cluster.wait_ready(2)?;
    let hostname = cluster.exec("mysql-0", "mysql", &["cat", "/proc/sys/kernel/hostname"])?;
    assert_eq!(String::from_utf8_lossy(&hostname.stdout), "worker-1\n");
    for (pod, id) in [("mysql-0", "100"), ("mysql-1", "101")] {
        assert_eq!(cluster.value(pod, "SELECT @@server_id")?, id, "{pod}");
    }
    Ok(())
}

//! A set that kustomize has given another name, as a second one in a namespace has it.

use anyhow::Result;

use crate::pods::servers::{self, tested};
use crate::pods::{Cluster, kustomize};
use crate::set;

#[test]
fn sets_with_a_suffix_and_with_a_prefix_come_up_and_replicate() -> Result<()> {
    for (lines, name) in [("nameSuffix: -b", "mysql-b"), ("namePrefix: db-1-", "db-1-mysql")] {
        let mut manifests = servers::parse(&kustomize::build_with(tested().overlay, &[], lines)?)?;
        manifests.stateful_set.spec.replicas = 2;
        let cluster = Cluster::apply(set::BINARY, None, manifests)?;
        cluster.wait_ready(2)?;
        let [primary, replica] = [0, 1].map(|ordinal| format!("{name}-{ordinal}"));
        cluster.sql(
            &primary,
            "CREATE DATABASE app; CREATE TABLE app.t (n INT PRIMARY KEY); INSERT INTO app.t VALUES (7)",
        )?;
        cluster.wait_for("the row", crate::pods::PATIENCE, || {
            Ok(cluster.value(&replica, "SELECT n FROM app.t")? == "7")
        })?;
        assert_eq!(set::journal(&cluster, &replica)?["clone"]["donor_pod"], primary.as_str());
    }
    Ok(())
}

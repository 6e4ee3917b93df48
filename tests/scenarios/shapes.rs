//! The set in other shapes than that of most tests.

use anyhow::{Context, Result};
use harness::pods::manifest::PodManagementPolicy;
use harness::pods::servers::tested;
use harness::set;

#[test]
fn the_sidecar_may_be_a_native_sidecar() -> Result<()> {
    let cluster = set::start_from(tested().overlay, &["native-sidecar"], 2, |_| {})?;
    cluster.wait_ready(2)?;
    set::fill(&cluster)?;
    cluster.scale(3);
    cluster.wait_ready(3)?;
    set::assert_same_rows(&cluster, &["mysql-1", "mysql-2"])?;

    cluster.signal("mysql-2", "sidecar", rustix::process::Signal::KILL)?;
    cluster.wait_for("the sidecar's second start", harness::pods::PATIENCE, || {
        Ok(cluster.status("mysql-2")?.containers["sidecar"].restarts == 1)
    })?;
    cluster.wait_ready(3)?;

    cluster.delete_pod("mysql-2")?;
    cluster.wait_for("the pod's end", harness::pods::PATIENCE, || Ok(cluster.ready_pods().len() == 2))?;
    cluster.wait_ready(3)?;
    let events = cluster.events();
    let position = |text: &str| events.iter().position(|event| event.contains(text)).with_context(|| text.to_owned());
    assert!(position("mysql-2: mysql ended with 0")? < position("mysql-2: sidecar ended with 0")?, "{events:#?}");
    cluster.sql("mysql-0", "INSERT INTO app.keyed (n) VALUES (-1)")?;
    set::assert_same_rows(&cluster, &["mysql-1", "mysql-2"])
}

/// As in docs/guide/lost-primary.md: `Parallel` is for an existing set, not for its first start.
#[test]
fn pods_may_start_together_once_there_is_a_primary() -> Result<()> {
    let parallel = |manifests: &mut harness::pods::manifest::Manifests| {
        manifests.stateful_set.spec.pod_management_policy = PodManagementPolicy::Parallel;
    };
    let refused = set::start(2, parallel)?;
    let end = set::end_of_clone(&refused, "mysql-0")?;
    assert_eq!(end.exit_code, 35, "{}", end.message);
    assert!(!refused.status("mysql-0")?.containers.contains_key("mysql"), "a server was started");
    drop(refused);

    let cluster = set::start(1, parallel)?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    cluster.scale(4);
    cluster.wait_ready(4)?;
    set::assert_same_rows(&cluster, &["mysql-1", "mysql-2", "mysql-3"])
}

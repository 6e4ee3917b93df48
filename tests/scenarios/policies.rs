//! A set behind its network policy: the connections that it needs pass, and all others are blocked.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use harness::pods::Cluster;
use harness::pods::policies::Labels;
use harness::set;

const PORTS: [u16; 3] = [3306, 3307, 8307];

/// The ports of the primary that a guest in a namespace reaches.
fn reached(cluster: &Cluster, name: &str, namespace: &str, labels: &Labels) -> Result<Vec<u16>> {
    let guest = cluster.add_guest(name, namespace, labels.clone())?;
    let primary = cluster.address("mysql-0")?;
    let mut found = Vec::new();
    for port in PORTS {
        if guest.reaches(SocketAddr::new(primary, port))? {
            found.push(port);
        }
    }
    Ok(found)
}

/// The set clones, replicates, reports and is probed. Strangers get no connection.
#[test]
fn a_set_lives_behind_its_policy_and_strangers_stay_outside() -> Result<()> {
    let cluster = set::start_closed(&["monitoring"], 2)?;
    cluster.wait_ready(2)?;
    set::fill(&cluster)?;
    cluster.scale(3);
    cluster.wait_ready(3)?;
    set::assert_same_rows(&cluster, &["mysql-1", "mysql-2"])?;
    ensure!(set::clones(&cluster, "mysql-2") == 1, "mysql-2 was not cloned");

    let pod = cluster.shared.pods.lock().expect("pods").there.get(&1).cloned().context("mysql-1")?;
    let own = pod.labels.lock().expect("labels").clone();
    let table: [(&str, &str, &Labels, &[u16]); 5] = [
        ("a-client", "default", &Labels::new(), &[3306]),
        ("one-of-the-set", "default", &own, &[3306, 3307]),
        ("a-stranger", "elsewhere", &Labels::new(), &[]),
        ("a-pretender", "elsewhere", &own, &[]),
        ("prometheus", "monitoring", &Labels::new(), &[8307]),
    ];
    for (name, namespace, labels, ports) in table {
        assert_eq!(reached(&cluster, name, namespace, labels)?, ports, "{name}");
    }
    // kubelet, and processes inside the pod.
    assert_eq!(cluster.http_get("mysql-0", 8307, "/healthz")?.0, 200);
    let link = cluster.exec("mysql-0", "sidecar", &["/mysqlset/mysqlset", "link"])?;
    ensure!(link.status.success(), "{}", String::from_utf8_lossy(&link.stderr));
    Ok(())
}

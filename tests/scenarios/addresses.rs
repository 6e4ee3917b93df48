//! Pods with IPv6 addresses, alone and beside IPv4 addresses. All scenarios can run so: `FIELD_CONDITION=ipv6-only`.

use std::net::TcpStream;

use anyhow::{Context, Result, ensure};
use harness::needs;
use harness::pods::manifest::Manifests;
use harness::pods::{Cluster, PATIENCE, network};
use harness::set;

/// A set that is scaled, loses a replica's volume, loses its primary's volume and recovers it.
fn a_set_lives(condition: &str, change: impl FnOnce(&mut Manifests)) -> Result<Cluster> {
    let cluster = set::start_under(condition, 2, |manifests| {
        set::notice_gone_replicas_soon(manifests);
        manifests.set_env("clone", "MYSQLSET_ON_LOST_PRIMARY", "recover");
        change(manifests);
    })?;
    cluster.wait_ready(2)?;
    set::fill(&cluster)?;
    cluster.scale(3);
    cluster.wait_ready(3)?;
    set::assert_same_rows(&cluster, &["mysql-1", "mysql-2"])?;
    cluster.delete_volume("mysql-2")?;
    cluster.wait_ready(3)?;
    set::assert_same_rows(&cluster, &["mysql-2"])?;

    cluster.delete_volume("mysql-0")?;
    cluster.wait_ready(3)?;
    set::assert_same_rows(&cluster, &["mysql-0", "mysql-1", "mysql-2"])?;
    cluster.sql("mysql-0", "INSERT INTO app.keyed (n) VALUES (-1)")?;
    set::assert_same_rows(&cluster, &["mysql-1", "mysql-2"])?;
    let log = cluster.logs("mysql-0", "clone");
    ensure!(log.contains("mysql-1.mysql:3307") || log.contains("mysql-2.mysql:3307"), "no peer's name: {log}");
    Ok(cluster)
}

#[test]
fn a_set_lives_by_ipv6_alone() -> Result<()> {
    needs!(Ipv6);
    let cluster = a_set_lives("ipv6-only", |_| {})?;
    let address = cluster.address("mysql-0")?;
    ensure!(address.is_ipv6(), "{address}");
    let donor = cluster.logs("mysql-1", "sidecar");
    ensure!(donor.contains(&format!("peer=[{}", address.to_string().split_at(6).0)), "{donor}");
    Ok(())
}

#[test]
fn a_set_lives_where_names_have_both_addresses() -> Result<()> {
    needs!(Ipv6);
    let cluster = a_set_lives("dual-v6-first", |_| {})?;
    for pod in ["mysql-0", "mysql-1", "mysql-2"] {
        let pid = cluster.pid(pod, "sidecar")?;
        for (address, port) in [("127.0.0.1", 3307), ("::1", 3307), ("127.0.0.1", 8307), ("::1", 8307)] {
            let connecting = network::inside(pid, move || Ok(TcpStream::connect((address, port))?));
            connecting.with_context(|| format!("{pod} does not listen on {address}, port {port}"))?;
        }
    }
    Ok(())
}

/// A peer that listens on one kind of its addresses only, like one of an older version.
#[test]
fn a_pod_that_is_reached_by_one_of_its_addresses_is_reached() -> Result<()> {
    needs!(Ipv6);
    a_set_lives("dual-v6-first", |manifests| manifests.set_env("sidecar", "MYSQLSET_CLONE_LISTEN", "0.0.0.0:3307"))?;
    Ok(())
}

#[test]
fn peers_by_ipv4_are_shown_as_such() -> Result<()> {
    let cluster = set::start(2, |_| {})?;
    cluster.wait_ready(2)?;
    let address = cluster.address("mysql-1")?.to_string();
    let name = if address.contains(':') { format!("peer=[{address}]:") } else { format!("peer={address}:") };
    cluster.wait_for("the recipient's address", PATIENCE, || Ok(cluster.logs("mysql-0", "sidecar").contains(&name)))?;
    let log = cluster.logs("mysql-0", "sidecar");
    ensure!(!log.contains("::ffff:"), "{log}");
    // Only the pod itself may hold clones back. An address is no proof of that, because a mesh's proxy connects from
    // within.
    for (from, to) in [("mysql-1", address.as_str()), ("mysql-1", "127.0.0.1"), ("mysql-0", address.as_str())] {
        let pid = cluster.pid(from, "sidecar")?.to_string();
        let request = r"POST /hold HTTP/1.1\r\nHost: x\r\n\r\n";
        let hold = format!("printf '{request}' | timeout 20 ncat --no-shutdown {to} 8307");
        let output = std::process::Command::new("nsenter").args(["-t", &pid, "-n", "sh", "-c", &hold]).output()?;
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(answer.starts_with("HTTP/1.1 403"), "from {from}: {answer} {output:?}");
    }
    let drain = cluster.exec("mysql-1", "mysql", &["/mysqlset/mysqlset", "drain"])?;
    ensure!(drain.status.success(), "{drain:?}");
    Ok(())
}

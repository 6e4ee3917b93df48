//! Failures at the donor or on the way: each is noticed and named, and a whole clone follows.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::needs;
use harness::pods::{Cluster, PATIENCE};
use harness::processes::tools_below;
use harness::proxy::{Fault, Proxy, use_proxy};
use harness::set;
use harness::writer::Writer;
use mysqlset::model::event::Event;
use rustix::process::{Pid, Signal, kill_process};

/// A clone that is halted in its middle, with the tool at work and rows being written.
fn clone_in_its_middle() -> Result<(Cluster, Proxy, Writer)> {
    let cluster = set::start(1, |manifests| {
        use_proxy(manifests);
        for container in ["clone", "sidecar"] {
            manifests.set_env(container, "MYSQLSET_STALL_TIMEOUT", "3");
        }
    })?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    set::fill_much(&cluster, 40)?;
    let proxy = Proxy::start(&cluster, "mysql-0", Fault::SilenceAfter(8_000_000))?;
    let writer = Writer::start(&cluster)?;
    cluster.scale(2);
    cluster.wait_for_event("mysql-1", "clone", Event::ReceiveBegun)?;
    Ok((cluster, proxy, writer))
}

fn ends_whole(cluster: &Cluster, proxy: &Proxy) -> Result<()> {
    ensure!(set::clones(cluster, "mysql-1") == 0, "published from a broken stream");
    proxy.set(Fault::None);
    cluster.wait_ready(2)?;
    set::assert_same_rows_of_innodb(cluster, &["mysql-1"])?;
    for pod in ["mysql-0", "mysql-1"] {
        set::assert_no_leftovers(cluster, pod)?;
    }
    Ok(())
}

#[test]
fn the_donors_backup_tool_is_killed() -> Result<()> {
    needs!(BackupTool);
    let (cluster, proxy, writer) = clone_in_its_middle()?;
    let sidecar = cluster.pid("mysql-0", "sidecar")?;
    // The recipient gives up the halted stream. The test then kills the next one's tool, as the kernel does for memory.
    let streams = || cluster.times_logged("mysql-1", "clone", Event::ReceiveBegun);
    cluster.wait_for("the next stream", PATIENCE, || Ok(streams() > 1))?;
    let tools = tools_below(sidecar);
    ensure!(!tools.is_empty(), "no tool was met\n{}", cluster.describe());
    for tool in tools {
        kill_process(Pid::from_raw(tool.parse()?).context("a process id")?, Signal::KILL)?;
    }
    cluster.wait_for_event_with("mysql-0", "sidecar", Event::DonorCloneFailed, "signal 9")?;
    assert_eq!(cluster.pid("mysql-0", "sidecar")?, sidecar);
    writer.finish()?;
    ends_whole(&cluster, &proxy)
}

#[test]
fn the_donors_server_is_killed() -> Result<()> {
    needs!(BackupTool);
    let (cluster, proxy, writer) = clone_in_its_middle()?;
    cluster.signal("mysql-0", "mysql", Signal::KILL)?;
    drop(writer);
    ends_whole(&cluster, &proxy)
}

#[test]
fn the_donors_pod_is_deleted() -> Result<()> {
    needs!(BackupTool);
    let (cluster, proxy, writer) = clone_in_its_middle()?;
    drop(writer);
    let before = cluster.status("mysql-0")?.uid;
    cluster.delete_pod("mysql-0")?;
    cluster.wait_for("a new mysql-0", PATIENCE, || Ok(cluster.status("mysql-0")?.uid != before))?;
    proxy.find_again(&cluster, "mysql-0")?;
    ends_whole(&cluster, &proxy)
}

#[test]
fn the_network_is_cut_silently() -> Result<()> {
    needs!(BackupTool);
    let (cluster, proxy, writer) = clone_in_its_middle()?;
    proxy.set(Fault::None);
    drop(writer);
    for pod in ["mysql-1", "mysql-0"] {
        let given_up = || cluster.times_logged("mysql-1", "clone", Event::ReceiveSetback);
        let before = given_up();
        cluster.set_network(pod, false)?;
        cluster.wait_for("the recipient to notice", Duration::from_secs(30), || Ok(given_up() > before))?;
        cluster.set_network(pod, true)?;
    }
    ends_whole(&cluster, &proxy)
}

#[test]
fn a_volume_that_cannot_be_written() -> Result<()> {
    let cluster = set::start(1, |manifests| {
        let mounts = &mut manifests.container("clone").volume_mounts;
        mounts.iter_mut().find(|mount| mount.name == "data").expect("a data mount").read_only = true;
    })?;
    let end = set::end_of_clone(&cluster, "mysql-0")?;
    assert_eq!(end.exit_code, 51, "{end:?}");
    assert!(end.is(Event::ExitDisk) && end.message.contains("/volume/mysql"), "{end:?}");
    Ok(())
}

//! A backup tool that would exhaust its container's memory is killed alone, and its parent continues.
//!
//! Containers here see their memory limit, but it is not enforced.

use anyhow::Result;
use harness::logged::{Line, Said};
use harness::needs;
use harness::pods::Cluster;
use harness::pods::manifest::Manifests;
use harness::set;
use mysqlset::model::event::Event;

/// A gibibyte in use. It ends after a while, if it is not killed.
const OUTGROW: &str = "exec dd if=/dev/zero of=/dev/null bs=1G count=20";

/// The memory at which it is killed, below its container's limit.
const KILLED_AT: &str = "480 MiB";

/// One pod with data. In `container` the tool exceeds its limit when `when` matches its arguments.
fn primary(container: &str, when: &str) -> Result<Cluster> {
    let cluster = set::start(1, |manifests| use_tool(manifests, container, when))?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    Ok(cluster)
}

fn use_tool(manifests: &mut Manifests, name: &str, when: &str) {
    let tool = format!("#!/bin/sh\nif {when}; then {OUTGROW}; fi\nexec /usr/bin/mariadb-backup \"$@\"\n");
    manifests.stand_in(name, "mariadb-backup", &tool);
    manifests.container(name).resources.limits.memory = Some("512Mi".to_owned());
}

fn starts(cluster: &Cluster, pod: &str, container: &str) -> usize {
    cluster.logs(pod, container).matches(&format!("---- {container} starts")).count()
}

#[test]
fn a_prepare_that_outgrows_its_container_is_tried_again_with_half_by_the_same_clone() -> Result<()> {
    needs!(BackupTool);
    let cluster = primary("clone", "case \"$*\" in *'--prepare --use-memory=268435456'*) true;; *) false;; esac")?;
    cluster.scale(2);
    cluster.wait_ready(2)?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    let log = cluster.logs("mysql-1", "clone");
    assert!(log.has_with(Event::PrepareAgain, KILLED_AT), "{log}");
    let memory = |line: &Line<'_>| line.field("memory_bytes") == Some("134217728");
    assert!(log.lines_of(Event::PrepareBegun).iter().any(memory), "{log}");
    assert_eq!(starts(&cluster, "mysql-1", "clone"), 1, "{log}");
    assert_eq!(set::clones(&cluster, "mysql-1"), 1);
    Ok(())
}

#[test]
fn a_backup_that_outgrows_its_container_leaves_the_sidecar_alone() -> Result<()> {
    needs!(BackupTool);
    let once = "case \"$*\" in *--backup*) mkdir /tmp/once 2>/dev/null;; *) false;; esac";
    let cluster = primary("sidecar", once)?;
    let sidecar = cluster.pid("mysql-0", "sidecar")?;
    cluster.scale(2);
    cluster.wait_ready(2)?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    let log = cluster.logs("mysql-0", "sidecar");
    assert!(log.has_with(Event::DonorCloneFailed, KILLED_AT), "{log}");
    assert_eq!(cluster.pid("mysql-0", "sidecar")?, sidecar, "{log}");
    assert_eq!(starts(&cluster, "mysql-0", "sidecar"), 1, "{log}");
    Ok(())
}

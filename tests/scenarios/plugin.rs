//! Clones by MySQL's CLONE plugin: tables that it may not copy, accounts that it admits, and the fate of a broken copy.

use anyhow::{Context, Result, bail, ensure};
use harness::logged::Said;
use harness::needs;
use harness::pods::manifest::Manifests;
use harness::pods::{Cluster, PATIENCE};
use harness::processes::tools_below;
use harness::set::{self, end_of_clone};
use harness::writer::Writer;
use mysqlset::model::event::Event;
use mysqlset::sys::secret::Secret;
use rustix::process::{Pid, Signal};

/// Removes the lines that begin with a word.
fn without(manifests: &mut Manifests, word: &str) {
    for file in manifests.server_files() {
        *file = file.split_inclusive('\n').filter(|line| !line.starts_with(word)).collect();
    }
}

/// Waits until the recipient creates a server of its own.
fn wait_for_a_recipient_that_has_begun(cluster: &Cluster) -> Result<()> {
    let own = cluster.volume("mysql-1").join(".mysqlset-mysql-stage/own");
    cluster.wait_for("a recipient that has begun", PATIENCE, || Ok(own.exists()))
}

fn wait_for_a_copy_that_has_begun(cluster: &Cluster) -> Result<()> {
    cluster.wait_for("a copy that has begun", PATIENCE, || {
        Ok(cluster.volume("mysql-1").join(".mysqlset-mysql-stage/data/ibdata1").exists())
    })
}

/// Earlier, the kernel killed the fetching server at each try, when it had used up the memory.
#[test]
fn too_little_memory_for_the_plugins_server_is_refused_with_both_numbers() -> Result<()> {
    needs!(ClonePlugin);
    let cluster = set::start(2, |manifests| {
        manifests.container("clone").resources.limits.memory = Some("300Mi".to_owned());
    })?;
    let end = end_of_clone(&cluster, "mysql-1")?;
    ensure!(end.exit_code == 52 && end.is(Event::ExitLimit), "{end:?}");
    for text in ["CLONE plugin", "352 MiB", "300 MiB"] {
        ensure!(end.message.contains(text), "{text}: {end:?}");
    }
    ensure!(!cluster.has_logged("mysql-1", "clone", Event::ReceiveBegun), "{}", cluster.logs("mysql-1", "clone"));
    Ok(())
}

#[test]
fn a_table_outside_innodb_is_refused_with_its_name() -> Result<()> {
    needs!(ClonePlugin);
    let cluster = set::start(1, |manifests| without(manifests, "disabled_storage_engines"))?;
    cluster.wait_ready(1)?;
    cluster.sql("mysql-0", "CREATE DATABASE app; CREATE TABLE app.old (n INT) ENGINE = MyISAM")?;
    cluster.scale(2);
    let end = end_of_clone(&cluster, "mysql-1")?;
    assert_eq!(end.exit_code, 21, "{end:?}");
    assert!(end.message.names(Event::RefusedPlugin) && end.message.contains("app.old"), "{end:?}");
    cluster.sql("mysql-0", "ALTER TABLE app.old ENGINE = InnoDB")?;
    cluster.wait_ready(2)
}

#[test]
fn packets_that_are_too_small_for_the_plugin_are_refused() -> Result<()> {
    needs!(ClonePlugin);
    let cluster = set::start(1, |manifests| {
        manifests.server_files().for_each(|file| file.push_str("max_allowed_packet = 1M\n"));
    })?;
    cluster.wait_ready(1)?;
    cluster.scale(2);
    let end = end_of_clone(&cluster, "mysql-1")?;
    assert_eq!(end.exit_code, 21, "{end:?}");
    assert!(end.message.names(Event::RefusedPlugin) && end.message.contains("max_allowed_packet = 2M"), "{end:?}");
    cluster.sql("mysql-0", "SET GLOBAL max_allowed_packet = 2097152")?;
    cluster.wait_ready(2)
}

#[test]
fn a_table_that_is_made_during_the_copy_is_never_lost_silently() -> Result<()> {
    needs!(ClonePlugin);
    let cluster = set::start(1, |manifests| {
        without(manifests, "disabled_storage_engines");
        manifests.set_env("sidecar", "MYSQLSET_RATE_LIMIT", "8M");
    })?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    cluster.scale(2);
    wait_for_a_copy_that_has_begun(&cluster)?;
    cluster.sql("mysql-0", "CREATE TABLE app.late (n INT) ENGINE = MyISAM; INSERT INTO app.late VALUES (1)")?;
    let end = end_of_clone(&cluster, "mysql-1")?;
    assert_eq!(end.exit_code, 21, "{end:?}");
    assert!(cluster.logs("mysql-1", "clone").has_with(Event::CloneAnotherBackup, "app.late"));
    assert_eq!(set::clones(&cluster, "mysql-1"), 0);
    cluster.sql("mysql-0", "ALTER TABLE app.late ENGINE = InnoDB")?;
    cluster.wait_ready(2)?;
    // Only a long run shows how well MySQL's own limiter keeps the rate.
    let log = cluster.logs("mysql-1", "clone");
    let rates: Vec<_> = log.lines_of(Event::ReceiveBegun).iter().map(|line| line.field("rate_limit")).collect();
    assert!(rates.contains(&Some("8388608")), "{log}");
    assert_eq!(cluster.value("mysql-1", "SELECT COUNT(*) FROM app.late")?, "1");
    Ok(())
}

#[test]
fn the_plugins_account_is_dropped_when_donation_to_anyone_is_off() -> Result<()> {
    needs!(ClonePlugin);
    let cluster = set::start(1, |_| {})?;
    cluster.wait_ready(1)?;
    let known = "SELECT COUNT(*) FROM mysql.user WHERE User = 'mysqlset-clone'";
    assert_eq!(cluster.value("mysql-0", known)?, "1");
    let mut manifests = (*cluster.shared.manifests()).clone();
    manifests.set_env("sidecar", "MYSQLSET_DONATE_TO_ANYONE", "false");
    cluster.change(manifests);
    cluster.wait_rolled_out(1)?;
    assert_eq!(cluster.value("mysql-0", known)?, "0");
    Ok(())
}

#[test]
fn the_shipped_configuration_makes_no_such_table() -> Result<()> {
    needs!(ClonePlugin);
    let cluster = set::start(1, |_| {})?;
    cluster.wait_ready(1)?;
    let made = cluster.sql("mysql-0", "CREATE DATABASE app; CREATE TABLE app.old (n INT) ENGINE = MyISAM");
    assert!(made.unwrap_err().to_string().contains("disabled"));
    Ok(())
}

#[test]
fn the_clone_secret_decides_the_password_of_the_plugins_account() -> Result<()> {
    needs!(ClonePlugin);
    let cluster = set::start(3, |manifests| {
        for container in ["clone", "sidecar"] {
            manifests.set_env(container, "MYSQLSET_CLONE_SECRET", "geheim-und-sehr-lang");
        }
        manifests.set_env("sidecar", "MYSQLSET_DONATE_TO_ANYONE", "false");
    })?;
    cluster.wait_ready(3)?;
    set::fill(&cluster)?;
    set::assert_same_rows(&cluster, &["mysql-1", "mysql-2"])?;
    let known = "SELECT GROUP_CONCAT(Host) FROM mysql.user WHERE User = 'mysqlset-clone'";
    assert_eq!(cluster.value("mysql-2", known)?, "%");
    // The password that anybody can derive where there is no secret.
    let guessed = mysqlset::protocol::auth::password_of_plugin(None, "mysql");
    for password in ["", "geheim-und-sehr-lang", guessed.reveal()] {
        assert!(cluster.sql_as("mysql-0", "mysqlset-clone", password, "SELECT 1").is_err(), "{password:?}");
    }
    let right = mysqlset::protocol::auth::password_of_plugin(Some(&Secret::new("geheim-und-sehr-lang")), "mysql");
    assert!(cluster.sql_as("mysql-0", "mysqlset-clone", right.reveal(), "SELECT 1").is_ok());
    for (pod, container) in [("mysql-0", "sidecar"), ("mysql-1", "clone"), ("mysql-1", "sidecar")] {
        assert!(!cluster.logs(pod, container).contains("geheim"), "{pod} {container}");
        assert!(!cluster.logs(pod, container).contains("Aa1!"), "{pod} {container}");
    }
    Ok(())
}

/// The next pod, of two, that has its clone from a replica. A replica that is unfit at the moment is passed over.
fn clone_of_a_replica(cluster: &Cluster) -> Result<String> {
    for number in 2..6u32 {
        let pod = format!("mysql-{number}");
        cluster.scale(number + 1);
        cluster.wait_ready(number as usize + 1)?;
        if set::journal(cluster, &pod)?["clone"]["donor_pod"] != "mysql-0" {
            return Ok(pod);
        }
    }
    bail!("no replica was fit to donate")
}

#[test]
fn the_plugin_is_installed_where_no_configuration_loads_it() -> Result<()> {
    needs!(ClonePlugin);
    let cluster = set::start(2, |manifests| without(manifests, "plugin_load_add"))?;
    cluster.wait_ready(2)?;
    set::fill(&cluster)?;
    let pod = clone_of_a_replica(&cluster)?;
    set::assert_same_rows(&cluster, &["mysql-1", &pod])
}

/// A server that starts replication by itself would follow the donor's source from the donor's position.
#[test]
fn a_copy_of_a_replica_knows_no_source_before_it_is_given_one() -> Result<()> {
    needs!(ClonePlugin);
    let cluster = set::start(2, |manifests| without(manifests, "skip_replica_start"))?;
    cluster.wait_ready(2)?;
    set::fill(&cluster)?;
    let writer = Writer::start(&cluster)?;
    let pod = clone_of_a_replica(&cluster)?;
    writer.finish()?;
    set::assert_same_rows(&cluster, &["mysql-1", &pod])?;
    let log = cluster.logs(&pod, "mysql");
    let first = log.lines().find(|line| line.contains("connected to source"));
    assert!(!log.contains("relay log initialization"), "it began with the donor's settings:\n{log}");
    assert!(first.is_some_and(|line| line.contains("mysql-0.mysql")), "{log}");
    Ok(())
}

#[test]
fn a_donors_sidecar_that_dies_ends_the_clone_and_the_next_one_is_whole() -> Result<()> {
    needs!(ClonePlugin);
    let cluster = set::start(1, |manifests| manifests.set_env("sidecar", "MYSQLSET_RATE_LIMIT", "8M"))?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    set::fill_much(&cluster, 16)?;
    cluster.scale(2);
    wait_for_a_recipient_that_has_begun(&cluster)?;
    cluster.signal("mysql-0", "sidecar", Signal::KILL)?;
    cluster.wait_for_broken_stream("mysql-1", 0)?;
    wait_for_a_copy_that_has_begun(&cluster)?;
    cluster.signal("mysql-0", "sidecar", Signal::KILL)?;
    cluster.wait_for_broken_stream("mysql-1", 1)?;
    cluster.wait_ready(2)?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    set::assert_no_leftovers(&cluster, "mysql-1")?;
    let (_, metrics) = cluster.http_get("mysql-0", 8307, "/metrics")?;
    assert!(metrics.contains("mysqlset_donor_clones_total{outcome=\"served\"} 1"), "{metrics}");
    Ok(())
}

/// The recipient's kernel confirms the data of the donor, but the recipient is stopped.
#[test]
fn a_stalled_recipient_loses_its_slot() -> Result<()> {
    needs!(ClonePlugin);
    let cluster = set_with_stall_timeout(2)?;
    cluster.scale(2);
    wait_for_a_recipient_that_has_begun(&cluster)?;
    cluster.signal("mysql-1", "clone", Signal::STOP)?;
    cluster.wait_for_event("mysql-0", "sidecar", Event::DonorCloneFailed)?;
    cluster.signal("mysql-1", "clone", Signal::CONT)?;
    cluster.wait_for_broken_stream("mysql-1", 0)?;
    cluster.wait_ready(2)?;
    set::assert_same_rows(&cluster, &["mysql-1"])
}

/// The recipient is alive, but its server is stopped.
#[test]
fn a_recipient_gives_up_a_stalled_copy() -> Result<()> {
    needs!(ClonePlugin);
    let cluster = set_with_stall_timeout(2)?;
    set::fill_much(&cluster, 16)?;
    cluster.scale(2);
    wait_for_a_copy_that_has_begun(&cluster)?;
    for server in tools_below(cluster.pid("mysql-1", "clone")?) {
        let server = Pid::from_raw(server.parse()?).context("a process id")?;
        rustix::process::kill_process(server, Signal::STOP)?;
    }
    cluster.wait_for_broken_stream("mysql-1", 0)?;
    cluster.wait_ready(2)?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    set::assert_no_leftovers(&cluster, "mysql-1")
}

/// One pod with rows. Peers are given up after this many seconds of silence.
fn set_with_stall_timeout(stall_timeout: u32) -> Result<Cluster> {
    let cluster = set::start(1, |manifests| {
        for container in ["clone", "sidecar"] {
            manifests.set_env(container, "MYSQLSET_STALL_TIMEOUT", &stall_timeout.to_string());
        }
        manifests.set_env("sidecar", "MYSQLSET_RATE_LIMIT", "8M");
    })?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    Ok(cluster)
}

/// Its position in the primary's log comes from tables that are emptied before it is published.
#[test]
fn a_copy_of_a_replica_that_is_killed_once_its_source_is_forgotten_keeps_its_place() -> Result<()> {
    needs!(PlacesInTheLog);
    let cluster = set::start(2, |manifests| {
        let held = "[ $(uname -n) = mysql-2 ] && mkdir /volume/held && sleep 1000";
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in *--skip-grant-tables*) /usr/sbin/mysqld \"$@\"; {held}; exit 0;; esac\n\
             exec /usr/sbin/mysqld \"$@\"\n"
        );
        manifests.stand_in("clone", "mysqld", &script);
    })?;
    cluster.wait_ready(2)?;
    set::fill(&cluster)?;
    let writer = Writer::start(&cluster)?;
    cluster.scale(3);
    let held = cluster.volume("mysql-2").join("held");
    cluster.wait_for("a server of mysql-2's own that has stopped", PATIENCE, || Ok(held.exists()))?;
    cluster.signal("mysql-2", "clone", Signal::KILL)?;
    cluster.wait_ready(3)?;
    writer.finish()?;
    set::assert_same_rows(&cluster, &["mysql-1", "mysql-2"])?;
    let journal = set::journal(&cluster, "mysql-2")?;
    assert_eq!((&journal["clone"]["donor_pod"], &journal["prepare_attempts"]), (&"mysql-1".into(), &2.into()));
    assert_eq!(journal["clone"]["position"]["by"], "binlog-file");
    Ok(())
}

#[test]
fn a_volume_that_fills_up_meanwhile_is_named_and_nothing_is_published() -> Result<()> {
    needs!(ClonePlugin);
    let cluster = set::start(1, |manifests| manifests.set_env("sidecar", "MYSQLSET_RATE_LIMIT", "8M"))?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    set::fill_much(&cluster, 16)?;
    cluster.limit_volume("mysql-1", 600 << 20);
    cluster.scale(2);
    wait_for_a_copy_that_has_begun(&cluster)?;
    let filler = cluster.volume("mysql-1").join("filler");
    set::fill_up(&filler)?;
    let end = set::end_of_clone_where(&cluster, "mysql-1", |end| end.exit_code != 0)?;
    assert_eq!(end.exit_code, 50, "{end:?}");
    assert!(!cluster.volume("mysql-1").join("mysql/mysql").exists());
    std::fs::remove_file(&filler)?;
    cluster.wait_ready(2)?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    set::assert_no_leftovers(&cluster, "mysql-1")
}

#[test]
fn an_unavailable_method_is_refused_on_either_side() -> Result<()> {
    needs!(ClonePlugin);
    let cluster = set::start(1, |manifests| manifests.set_env("clone", "MYSQLSET_METHOD", "backup-tool"))?;
    cluster.wait_ready(1)?;
    cluster.scale(2);
    let end = end_of_clone(&cluster, "mysql-1")?;
    assert_eq!(end.exit_code, 40, "{end:?}");
    let cluster = set::start(1, |manifests| manifests.set_env("sidecar", "MYSQLSET_METHOD", "backup-tool"))?;
    cluster.wait_ready(1)?;
    cluster.scale(2);
    let end = end_of_clone(&cluster, "mysql-1")?;
    assert_eq!(end.exit_code, 21, "{end:?}");
    assert!(end.message.names(Event::RefusedMethod) && end.message.contains("--method"), "{end:?}");
    Ok(())
}

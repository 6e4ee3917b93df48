//! Bad input: one clear line, a documented exit code, and no data lost.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::Result;
use harness::needs;
use harness::pods::PATIENCE;
use harness::pods::container::Termination;
use harness::pods::servers::tested;
use harness::set;
use mysqlset::model::event::Event;

/// The end of the first pod's init-config.
fn end_of_init_config(change: impl FnOnce(&mut harness::pods::manifest::Manifests)) -> Result<Termination> {
    let cluster = set::start(1, change)?;
    let end = || cluster.status("mysql-0").ok()?.containers.get("init-config")?.last_termination.clone();
    cluster.wait_for("init-config to end", PATIENCE, || Ok(end().is_some()))?;
    end().ok_or_else(|| anyhow::anyhow!("no end"))
}

#[test]
fn a_hostname_without_an_ordinal() -> Result<()> {
    let end = end_of_init_config(|manifests| manifests.set_env("init-config", "MYSQLSET_HOSTNAME", "mysql"))?;
    assert_eq!(end.exit_code, 10, "{end:?}");
    assert!(end.is(Event::ExitIdentity) && end.message.contains("\"mysql\""), "{end:?}");
    Ok(())
}

#[test]
fn a_missing_role_file() -> Result<()> {
    let end = end_of_init_config(|manifests| drop(manifests.server_config().remove("primary.cnf")))?;
    assert_eq!(end.exit_code, 11, "{end:?}");
    assert!(end.message.contains("primary.cnf") && end.message.contains("master.cnf"), "{end:?}");
    Ok(())
}

#[test]
fn two_files_for_one_role() -> Result<()> {
    let end = end_of_init_config(|manifests| {
        manifests.server_config().insert("master.cnf".into(), "[mysqld]\n".into());
    })?;
    assert_eq!(end.exit_code, 11, "{end:?}");
    assert!(end.message.contains("primary.cnf") && end.message.contains("master.cnf"), "{end:?}");
    Ok(())
}

#[test]
fn a_target_that_cannot_be_written() -> Result<()> {
    let end = end_of_init_config(|manifests| {
        manifests.container("init-config").volume_mounts[0].read_only = true;
    })?;
    assert_eq!(end.exit_code, 12, "{end:?}");
    assert!(end.message.contains("/mnt/conf.d"), "{end:?}");
    Ok(())
}

#[test]
fn wrong_credentials_of_the_backup_tool() -> Result<()> {
    needs!(BackupTool);
    let cluster = set::start(2, |manifests| {
        manifests.set_env("sidecar", "MYSQLSET_BACKUP_USER", "somebody");
        manifests.set_env("sidecar", "MYSQLSET_BACKUP_PASSWORD", "n0t-th3-passw0rd");
        manifests.set_env("clone", "MYSQLSET_GIVE_UP_AFTER", "2");
    })?;
    let end = set::end_of_clone(&cluster, "mysql-1")?;
    assert_eq!(end.exit_code, 20, "{end:?}");
    assert!(end.message.contains("Access denied for user 'somebody'"), "{end:?}");
    for text in [end.message, cluster.logs("mysql-0", "sidecar"), cluster.logs("mysql-1", "clone")] {
        assert!(!text.contains("n0t-th3-passw0rd"), "the password is shown: {text}");
    }
    assert!(set::state(&cluster, "mysql-1").is_none_or(|state| state == "receiving"));
    Ok(())
}

#[test]
fn accounts_with_passwords_work_and_are_shown_nowhere() -> Result<()> {
    needs!(MariadbsAccounts);
    let cluster = set::start(1, |manifests| {
        manifests.set_env("clone", "MYSQLSET_ON_LOST_PRIMARY", "recover");
        for (purpose, password) in [("BACKUP", "b'\"\\#x pw"), ("REPLICATION", "r'\"\\#x pw"), ("SQL", "s'\"\\#x pw")] {
            manifests.set_env("sidecar", &format!("MYSQLSET_{purpose}_USER"), &purpose.to_lowercase());
            manifests.set_env("sidecar", &format!("MYSQLSET_{purpose}_PASSWORD"), password);
        }
    })?;
    cluster.wait_for("the server", PATIENCE, || Ok(cluster.value("mysql-0", "SELECT 1")? == "1"))?;
    cluster.sql(
        "mysql-0",
        r#"CREATE USER backup IDENTIFIED BY 'b\'"\\#x pw', replication IDENTIFIED BY 'r\'"\\#x pw',
               `sql` IDENTIFIED BY 's\'"\\#x pw';
           GRANT RELOAD, PROCESS, BINLOG MONITOR, SLAVE MONITOR, LOCK TABLES, REPLICATION CLIENT ON *.* TO backup;
           GRANT REPLICATION SLAVE ON *.* TO replication;
           GRANT REPLICATION SLAVE ADMIN, SLAVE MONITOR, READ_ONLY ADMIN, RELOAD, BINLOG MONITOR, REPLICATION MASTER ADMIN ON *.* TO `sql`;"#,
    )?;
    cluster.scale(2);
    cluster.wait_ready(2)?;
    set::fill(&cluster)?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    // The primary has another password now. The replica reports that its access is denied, until the old password is
    // set again.
    cluster.sql("mysql-0", "SET PASSWORD FOR replication = PASSWORD('another')")?;
    cluster.sql("mysql-1", "STOP SLAVE IO_THREAD; START SLAVE IO_THREAD")?;
    cluster.wait_for("mysql-1 to be denied access", PATIENCE, || {
        Ok(cluster.status_page("mysql-1")?.contains("\"receiver_error\": 1045"))
    })?;
    cluster.sql("mysql-0", r#"SET PASSWORD FOR replication = PASSWORD('r\'"\\#x pw')"#)?;
    cluster.wait_ready(2)?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;

    // These privileges suffice for a recovery of the primary too.
    cluster.delete_volume("mysql-0")?;
    cluster.wait_ready(2)?;
    assert_eq!(
        cluster.value("mysql-0", "SELECT @@gtid_binlog_state")?,
        cluster.value("mysql-1", "SELECT @@gtid_slave_pos")?
    );
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    for pod in ["mysql-0", "mysql-1"] {
        for container in ["clone", "sidecar"] {
            assert!(!cluster.logs(pod, container).contains("\\#x pw"), "{pod} {container} shows a password");
        }
    }
    Ok(())
}

/// A clone container that runs as root, as some images and clusters allow.
fn as_root(manifests: &mut harness::pods::manifest::Manifests) {
    let confinement = &mut manifests.container("clone").security_context;
    (confinement.run_as_user, confinement.run_as_group) = (Some(0), Some(0));
}

#[test]
fn a_clone_as_root_without_an_owner_is_refused() -> Result<()> {
    let cluster = set::start(1, as_root)?;
    let end = set::end_of_clone(&cluster, "mysql-0")?;
    assert_eq!(end.exit_code, 34, "{end:?}");
    assert!(end.message.contains("--owner"), "{end:?}");
    assert!(!cluster.volume("mysql-0").join("mysql").exists());
    Ok(())
}

#[test]
fn a_clone_as_root_gives_all_files_to_the_owner() -> Result<()> {
    let cluster = set::start(2, |manifests| {
        as_root(manifests);
        manifests.set_env("clone", "MYSQLSET_OWNER", "999:999");
    })?;
    cluster.wait_ready(2)?;
    set::fill(&cluster)?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    for pod in ["mysql-0", "mysql-1"] {
        assert_owned(&cluster.volume(pod).join("mysql"))?;
    }
    Ok(())
}

fn assert_owned(path: &Path) -> Result<()> {
    let metadata = path.symlink_metadata()?;
    assert_eq!((metadata.uid(), metadata.gid()), (999, 999), "{}", path.display());
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path)? {
            assert_owned(&entry?.path())?;
        }
    }
    Ok(())
}

#[test]
fn a_primary_without_a_binary_log_is_not_copied() -> Result<()> {
    let cluster = set::start(2, |manifests| {
        let primary = manifests.server_config().get_mut("primary.cnf").expect("primary.cnf");
        *primary = tested().without_binary_log(primary);
        manifests.set_env("clone", "MYSQLSET_GIVE_UP_AFTER", "1");
    })?;
    let end = set::end_of_clone(&cluster, "mysql-1")?;
    assert_eq!(end.exit_code, 20, "{end:?}");
    assert!(end.message.contains("log_bin"), "{end:?}");
    Ok(())
}

#[test]
fn a_primary_that_denies_its_sidecar_access_is_still_complete() -> Result<()> {
    let cluster = set::start(1, |manifests| manifests.set_env("sidecar", "MYSQLSET_SQL_USER", "nobody"))?;
    cluster.wait_for("the journal", PATIENCE, || Ok(set::state(&cluster, "mysql-0").as_deref() == Some("complete")))?;
    assert!(cluster.is_unready_by("mysql-0", Event::ServerTurnsAway)?, "{}", cluster.describe());
    Ok(())
}

/// A primary on a replica's former volume still has its old source, whose position is long past.
#[test]
fn a_clone_of_a_promoted_primary_starts_where_the_primary_is() -> Result<()> {
    needs!(MariadbsPlaces);
    let cluster = set::start(1, |_| {})?;
    cluster.wait_ready(1)?;
    let old = "SET GLOBAL gtid_slave_pos = '0-7-3';
        CHANGE MASTER TO MASTER_HOST = 'mysql-9.mysql', MASTER_USE_GTID = slave_pos";
    cluster.sql("mysql-0", old)?;
    set::fill(&cluster)?;
    cluster.scale(2);
    cluster.wait_ready(2)?;
    let position = set::journal(&cluster, "mysql-1")?["clone"]["position"]["slave_pos"].clone();
    assert!(position.as_str().is_some_and(|position| position.contains("0-100-")), "{position}");
    set::assert_same_rows(&cluster, &["mysql-1"])
}

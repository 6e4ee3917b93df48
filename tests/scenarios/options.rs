//! Options files of the image, the user or a home directory change neither the copy nor its account.

use anyhow::Result;
use harness::logged::Said;
use harness::needs;
use harness::pods::manifest::Manifests;
use harness::pods::servers::tested;
use harness::pods::{Cluster, PATIENCE};
use harness::set;
use mysqlset::model::event::Event;

/// Options for partial backups, and others that change a backup, in each group that a tool reads.
const OPTIONS: [&str; 7] = [
    "[mariadb-backup]\ndatabases-exclude = app\n",
    "[mariabackup]\ndatabases = mysql performance_schema\n",
    "[xtrabackup]\ntables-exclude = ^app[.]\n",
    "[mysqld]\nloose-tables-exclude = ^app[.]\n",
    "[client]\nloose-databases-exclude = app\n",
    "[mariadb-backup]\ncompress\n[client]\nloose-encrypt = AES256\n",
    "[mariadb-backup-suffixed]\ndatabases-exclude = app\n",
];

/// An account that exists on no server, with a password that looks like an option.
const ANOTHER_ACCOUNT: &str = "[client]\nuser = nobody\npassword = \"s3cret --tables=a\"\n";

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

/// Adds two pods: one is cloned from the primary, the next from a replica.
fn assert_whole_clones(cluster: &Cluster) -> Result<()> {
    cluster.wait_ready(1)?;
    set::fill(cluster)?;
    cluster.scale(3);
    cluster.wait_ready(3)?;
    assert_eq!(
        set::journal(cluster, "mysql-2")?["clone"]["donor_pod"],
        "mysql-1",
        "{}",
        cluster.logs("mysql-2", "clone")
    );
    set::assert_same_rows(cluster, &["mysql-1", "mysql-2"])
}

#[test]
fn options_in_the_servers_configuration_change_no_clone() -> Result<()> {
    needs!(BackupTool);
    for options in OPTIONS {
        let cluster = set::start(1, |manifests| {
            manifests.server_files().for_each(|file| file.push_str(&format!("\n{}[mysqld]\n", indented(options))));
            manifests.set_env("sidecar", "MYSQL_GROUP_SUFFIX", "-suffixed");
            manifests.set_env("clone", "MYSQL_GROUP_SUFFIX", "-suffixed");
        })?;
        assert_whole_clones(&cluster).map_err(|error| error.context(options))?;
    }
    Ok(())
}

/// Starts containers with options files in the home directory, and in the directory that `MYSQL_HOME` names.
fn with_files(manifests: &mut Manifests, containers: &[&str], home: &str, mysql_home: &str) {
    for name in containers {
        manifests.set_env(name, "IN_HOME", home);
        manifests.set_env(name, "IN_MYSQL_HOME", mysql_home);
        manifests.set_env(name, "HOME", "/tmp/home");
        manifests.set_env(name, "MYSQL_HOME", "/tmp/mysql-home");
        let start = format!(
            "mkdir -p /tmp/home /tmp/mysql-home && printf %s \"$IN_HOME\" > /tmp/home/.my.cnf && \
             printf %s \"$IN_MYSQL_HOME\" > /tmp/mysql-home/my.cnf && exec /mysqlset/mysqlset {name}"
        );
        let container = manifests.container(name);
        container.command = Some(["sh", "-c", &start].map(str::to_owned).into());
        container.security_context.read_only_root_filesystem = false;
    }
}

#[test]
fn options_and_accounts_in_home_directories_change_no_clone_and_are_reported_once() -> Result<()> {
    needs!(BackupTool);
    let all = OPTIONS.concat();
    for (home, mysql_home) in [(ANOTHER_ACCOUNT, ""), (&*all, ""), ("", &*all)] {
        let cluster = set::start(1, |manifests| with_files(manifests, &["clone", "sidecar"], home, mysql_home))?;
        assert_whole_clones(&cluster)?;
        let log = cluster.logs("mysql-0", "sidecar");
        let words = if home == ANOTHER_ACCOUNT {
            ["[client] password", "[client] user"].as_slice()
        } else {
            ["[mariadb-backup] databases", "[mariabackup] databases", "[xtrabackup] tables", "[client] encrypt"]
                .as_slice()
        };
        let ignored: Vec<_> =
            log.lines_of(Event::BackupOptionsIgnored).iter().map(|line| line.field("options")).collect();
        let [Some(options)] = ignored[..] else { panic!("{log}") };
        for word in words {
            assert_eq!(options.matches(word).count(), 1, "{word}: {log}");
        }
        assert!(!log.contains("s3cret"), "{log}");
    }
    Ok(())
}

#[test]
fn a_prepare_obeys_no_options_file_of_the_recipient() -> Result<()> {
    needs!(BackupTool);
    // The first option makes it run a server, the second makes it recover nothing, and the third makes it fail.
    let options = "[mariadb-backup]\nexport\ninnodb-force-recovery = 6\n[xtrabackup]\nno-such-option = 1\n";
    let cluster = set::start(1, |manifests| {
        with_files(manifests, &["clone"], options, options);
        manifests.set_env("clone", "MYSQL_GROUP_SUFFIX", "-suffixed");
    })?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    cluster.scale(2);
    cluster.wait_ready(2)?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    let exported = std::fs::read_dir(cluster.volume("mysql-1").join("mysql/app"))?
        .flatten()
        .any(|entry| entry.path().extension().is_some_and(|extension| extension == "cfg"));
    assert!(!exported);
    Ok(())
}

#[test]
fn a_replica_that_leaves_a_part_out_is_no_donor() -> Result<()> {
    let noun = if tested().is_mariadb() { "slave" } else { "replica" };
    let lenient = ["skip_errors = 1062", "exec_mode = IDEMPOTENT"].map(|setting| format!("{noun}_{setting}"));
    for setting in lenient.iter().map(String::as_str).chain(["replicate_ignore_db = scratch"]) {
        let cluster = set::start(2, |manifests| {
            let file = manifests.server_config().get_mut("replica.cnf").expect("replica.cnf");
            file.push_str(&format!("    {setting}\n"));
        })?;
        cluster.wait_ready(2)?;
        set::fill(&cluster)?;
        cluster.scale(3);
        cluster.wait_ready(3)?;
        let log = cluster.logs("mysql-2", "clone");
        let named = setting.split(" = ").next().unwrap_or(setting);
        assert!(log.names(Event::RefusedPartial) && log.contains(named), "{log}");
        assert_eq!(set::journal(&cluster, "mysql-2")?["clone"]["donor_pod"], "mysql-0");
        set::assert_same_rows(&cluster, &["mysql-2"])?;
    }
    Ok(())
}

#[test]
fn a_primary_whose_binary_log_leaves_a_database_out_is_no_donor() -> Result<()> {
    let cluster = set::start(1, |manifests| {
        manifests.set_env("clone", "MYSQLSET_GIVE_UP_AFTER", "3");
        let file = manifests.server_config().get_mut("primary.cnf").expect("primary.cnf");
        file.push_str("    binlog_ignore_db = scratch\n");
    })?;
    cluster.wait_ready(1)?;
    cluster.scale(2);
    let end = set::end_of_clone(&cluster, "mysql-1")?;
    assert_eq!(end.exit_code, 21, "{end:?}");
    assert!(end.message.names(Event::RefusedPartial), "{end:?}");
    assert!(end.message.contains("binlog_ignore_db = scratch"), "{end:?}");
    assert_eq!(set::state(&cluster, "mysql-1"), None);
    Ok(())
}

#[test]
fn a_replica_that_leaves_a_part_out_is_no_source_of_recovery() -> Result<()> {
    let cluster = set::start(3, |manifests| {
        for container in ["clone", "sidecar"] {
            manifests.set_env(container, "MYSQLSET_CLONE_SECRET", "between pods alone");
        }
        manifests.set_env("clone", "MYSQLSET_ON_LOST_PRIMARY", "recover");
    })?;
    cluster.wait_ready(3)?;
    set::fill(&cluster)?;
    // The first of the two candidates.
    let first = "mysql-1";
    let filter = if tested().is_mariadb() {
        "STOP SLAVE; SET GLOBAL replicate_ignore_db = 'scratch'; START SLAVE"
    } else {
        "STOP REPLICA SQL_THREAD; CHANGE REPLICATION FILTER REPLICATE_IGNORE_DB = (scratch); START REPLICA"
    };
    cluster.sql(first, filter)?;
    cluster.sql("mysql-0", "CREATE DATABASE scratch; USE scratch; CREATE TABLE t (n INT); INSERT INTO t VALUES (1)")?;
    set::assert_same_rows(&cluster, &["mysql-1", "mysql-2"])?;
    cluster.wait_for("mysql-2 to have all", PATIENCE, || {
        Ok(cluster.value("mysql-2", "SELECT COUNT(*) FROM scratch.t")? == "1")
    })?;
    cluster.delete_volume("mysql-0")?;
    cluster.wait_for("the primary to be back", PATIENCE, || {
        Ok(set::journal(&cluster, "mysql-0").is_ok_and(|journal| journal["clone"]["donor_pod"].is_string()))
    })?;
    assert_eq!(set::journal(&cluster, "mysql-0")?["clone"]["donor_pod"], "mysql-2");
    cluster.wait_for("the primary's server", PATIENCE, || {
        Ok(cluster.value("mysql-0", "SELECT COUNT(*) FROM scratch.t").is_ok_and(|count| count == "1"))
    })?;
    Ok(())
}

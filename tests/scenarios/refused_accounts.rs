//! Accounts that a server refuses while a set runs, and statements about accounts that hang.

use std::process::Stdio;

use anyhow::{Result, ensure};
use harness::pods::manifest::Manifests;
use harness::pods::{Cluster, PATIENCE};
use harness::set;
use mysqlset::model::event::Event;

use super::strict::{AS_SHIPPED, STRONG, with_accounts};

const RECONNECT: &str = "STOP REPLICA IO_THREAD; START REPLICA IO_THREAD";

const REVOKE: &str = "REVOKE REPLICATION SLAVE ON *.* FROM replication@'%'";

/// The administrator manages the replication account. A replica that is denied access is unready after five seconds.
pub fn with_an_account_by_hand(manifests: &mut Manifests) {
    let sql =
        "CREATE USER replication@'%' IDENTIFIED BY 's3cret'; GRANT REPLICATION SLAVE ON *.* TO replication@'%';\n";
    manifests.first_start_scripts().insert("replication.sql".to_owned(), sql.to_owned());
    manifests.set_env("sidecar", "MYSQLSET_REPLICATION_USER", "replication");
    manifests.set_env("sidecar", "MYSQLSET_REPLICATION_PASSWORD", "s3cret");
    manifests.set_env("sidecar", "MYSQLSET_MAX_REFUSAL", "5");
}

fn root(cluster: &Cluster, pod: &str, sql: &str) -> Result<Vec<Vec<String>>> {
    cluster.sql_as(pod, "root", STRONG[0].1, sql)
}

/// Replicas notice it at their next connection.
#[test]
fn a_replica_whose_account_lost_its_privilege_is_not_ready_after_a_time() -> Result<()> {
    let cluster = set::start(2, with_an_account_by_hand)?;
    cluster.wait_ready(2)?;
    cluster.sql("mysql-0", REVOKE)?;
    cluster.sql("mysql-1", RECONNECT)?;
    cluster.wait_for("mysql-1 to be unready", PATIENCE, || {
        Ok(cluster.ready_pods() == ["mysql-0"] && cluster.is_unready_by("mysql-1", Event::ReplicationRefused)?)
    })?;
    let log = cluster.logs("mysql-1", "sidecar");
    ensure!(log.contains("event=replication.refused") && log.contains("grant the account REPLICATION SLAVE"), "{log}");
    cluster.sql("mysql-0", "GRANT REPLICATION SLAVE ON *.* TO replication@'%'")?;
    cluster.wait_ready(2)?;
    set::fill(&cluster)?;
    set::assert_same_rows(&cluster, &["mysql-1"])
}

#[test]
fn a_managed_account_that_lost_its_privilege_is_mended() -> Result<()> {
    let cluster = with_accounts(&AS_SHIPPED, &STRONG, 2)?;
    cluster.wait_ready(2)?;
    root(&cluster, "mysql-0", REVOKE)?;
    root(&cluster, "mysql-1", RECONNECT)?;
    cluster.wait_for_event_with("mysql-1", "sidecar", Event::ReplicationRefused, "REPLICATION SLAVE")?;
    cluster.wait_for("the receiver to run", PATIENCE, || {
        let status: serde_json::Value = serde_json::from_str(&cluster.status_page("mysql-1")?)?;
        Ok(status["replication"]["receiver"] == "running")
    })?;
    cluster.wait_ready(2)
}

/// The sidecar checks its accounts before the primary is ready.
#[test]
fn a_primary_whose_managed_accounts_expired_is_ready_after_a_restart() -> Result<()> {
    let cluster = with_accounts(&AS_SHIPPED, &STRONG, 1)?;
    cluster.wait_ready(1)?;
    let expire = |user: &str| root(&cluster, "mysql-0", &format!("ALTER USER {user}@'%' PASSWORD EXPIRE"));
    expire("monitoring")?;
    expire("replication")?;
    cluster.delete_pod("mysql-0")?;
    cluster.wait_for("mysql-0 to go", PATIENCE, || Ok(cluster.ready_pods().is_empty()))?;
    cluster.wait_ready(1)?;
    for number in [3, 4] {
        let (user, password) = STRONG[number];
        cluster.sql_as("mysql-0", user, password, "SELECT 1")?;
    }
    Ok(())
}

/// Earlier, such a statement kept its locks as long as the server ran, and each new try left another one.
#[test]
fn a_statement_that_takes_too_long_is_ended_in_the_server() -> Result<()> {
    let cluster = with_accounts(&AS_SHIPPED, &STRONG, 1)?;
    cluster.wait_ready(1)?;
    let mut locker = cluster.client_of_root("mysql-0")?;
    locker.env("MYSQL_PWD", STRONG[0].1).args(["-e", "FLUSH TABLES WITH READ LOCK; SELECT SLEEP(300)"]);
    let mut locker = locker.stdout(Stdio::null()).spawn()?;
    let sessions = |texts: &[&str]| -> Result<Vec<Vec<String>>> {
        let mut all = root(&cluster, "mysql-0", "SHOW PROCESSLIST")?;
        all.retain(|row| row.iter().any(|value| texts.iter().any(|text| value.starts_with(text))));
        Ok(all)
    };
    let about_accounts = ["CREATE USER", "ALTER USER"];
    let new = "M0nitoring!password2";
    let ended = || -> Result<()> {
        cluster.wait_for("the lock", PATIENCE, || Ok(sessions(&["SELECT SLEEP"])?.len() == 1))?;
        cluster.set_secret("mysql-passwords", "monitoring", new)?;
        cluster.wait_for("the statement", PATIENCE, || Ok(sessions(&about_accounts)?.len() == 1))?;
        cluster.wait_for_event("mysql-0", "sidecar", Event::StatementKilled)?;
        let left = sessions(&about_accounts)?;
        ensure!(left.len() <= 1, "{left:?}");
        Ok(())
    }();
    let _ = (locker.kill(), locker.wait());
    ended?;
    for session in sessions(&["SELECT SLEEP"])? {
        root(&cluster, "mysql-0", &format!("KILL {}", session[0]))?;
    }
    cluster.wait_for("the new password", PATIENCE, || {
        Ok(cluster.sql_as("mysql-0", "monitoring", new, "SELECT 1").is_ok())
    })?;
    let log = cluster.logs("mysql-0", "sidecar");
    ensure!(!log.contains("does not speak"), "the server did nothing wrong: {log}");
    cluster.wait_ready(1)
}

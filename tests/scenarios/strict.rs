//! Servers with strict settings, as operators run them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::needs;
use harness::pods::manifest::Manifests;
use harness::pods::servers::tested;
use harness::pods::{Cluster, PATIENCE};
use harness::set;
use mysqlset::model::event::Event;

use super::refused_accounts::with_an_account_by_hand;

/// A setting under which a set must come up and grow.
pub struct Strict {
    name: &'static str,
    mariadb: &'static [&'static str],
    mysql: &'static [&'static str],
}

const STRICT: [Strict; 8] = [
    Strict { name: "skip_name_resolve", mariadb: &["skip_name_resolve = ON"], mysql: &["skip_name_resolve = ON"] },
    Strict {
        name: "wait_timeout",
        mariadb: &["wait_timeout = 1", "interactive_timeout = 1"],
        mysql: &["wait_timeout = 1", "interactive_timeout = 1"],
    },
    Strict { name: "max_statement_time", mariadb: &["max_statement_time = 1"], mysql: &["max_execution_time = 1000"] },
    Strict { name: "sql_mode", mariadb: &["sql_mode = ORACLE"], mysql: &["sql_mode = ANSI,NO_BACKSLASH_ESCAPES"] },
    Strict { name: "autocommit", mariadb: &["autocommit = 0"], mysql: &["autocommit = 0"] },
    Strict { name: "event_scheduler", mariadb: &["event_scheduler = ON"], mysql: &["event_scheduler = ON"] },
    Strict {
        name: "max_allowed_packet",
        mariadb: &["max_allowed_packet = 1024"],
        // The minimum with which the CLONE plugin copies.
        mysql: &["max_allowed_packet = 2M"],
    },
    Strict {
        name: "init_connect",
        mariadb: &["init_connect = 'SELECT no_such_function()'"],
        mysql: &["init_connect = 'SELECT no_such_function()'"],
    },
];

/// Without a setting.
pub const AS_SHIPPED: Strict = Strict { name: "as shipped", mariadb: &[], mysql: &[] };

const PASSWORD_VALIDATION: Strict = Strict {
    name: "password validation",
    mariadb: &["plugin_load_add = simple_password_check", "strict_password_validation = ON"],
    mysql: &["plugin_load_add = validate_password.so", "loose_validate_password_policy = STRONG"],
};

/// Before 8.0.26 MySQL has the same names as MariaDB.
const SEMI_SYNC: Strict = Strict {
    name: "semi-sync",
    mariadb: &[
        "rpl_semi_sync_master_enabled = ON",
        "rpl_semi_sync_master_timeout = 1000000000",
        "rpl_semi_sync_slave_enabled = ON",
    ],
    mysql: &[
        "plugin_load_add = semisync_source.so;semisync_replica.so",
        "loose_rpl_semi_sync_source_enabled = ON",
        "loose_rpl_semi_sync_source_timeout = 1000000000",
        "loose_rpl_semi_sync_replica_enabled = ON",
    ],
};

/// With these settings a replica waits for no replica of its own. They override the settings before them.
const NO_SOURCE: &str = "\nloose_rpl_semi_sync_source_enabled = OFF\nloose_rpl_semi_sync_master_enabled = OFF\n";

fn with_semi_sync(replicas: u32) -> Result<Cluster> {
    set::start_from(tested().overlay_with_passwords, &[], replicas, |manifests| {
        manifests.secrets.insert("mysql-passwords".to_owned(), keys(&STRONG));
        SEMI_SYNC.set(manifests);
        let files = manifests.server_config().iter_mut();
        files.filter(|(name, _)| name.starts_with("replica")).for_each(|(_, file)| file.push_str(NO_SOURCE));
    })
}

/// The applier then does nothing, while replication reports that it runs.
#[test]
fn a_replica_that_waits_for_replicas_of_its_own_is_not_ready_after_a_time() -> Result<()> {
    let cluster = set::start(2, |manifests| {
        SEMI_SYNC.set(manifests);
        manifests.set_env("sidecar", "MYSQLSET_MAX_REFUSAL", "5");
    })?;
    cluster.wait_ready(2)?;
    set::fill(&cluster)?;
    cluster.wait_for("mysql-1 to be unready", PATIENCE, || {
        Ok(cluster.ready_pods() == ["mysql-0"] && cluster.is_unready_by("mysql-1", Event::ReplicationUnacknowledged)?)
    })?;
    let name = match cluster.sql("mysql-1", "SELECT @@GLOBAL.rpl_semi_sync_source_enabled") {
        Ok(_) => "rpl_semi_sync_source_enabled",
        Err(_) => "rpl_semi_sync_master_enabled",
    };
    cluster.sql("mysql-1", &format!("SET GLOBAL {name} = OFF"))?;
    cluster.wait_ready(2)?;
    set::assert_same_rows(&cluster, &["mysql-1"])
}

impl Strict {
    fn set(&self, manifests: &mut Manifests) {
        let lines = if tested().is_mariadb() { self.mariadb } else { self.mysql };
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        manifests.server_files().for_each(|file| file.push_str(&format!("\n[mysqld]\n{text}")));
    }
}

pub const STRONG: [(&str, &str); 5] = [
    ("root", "R00t!password"),
    ("clone", "a clone secret of some length"),
    ("backup", "B4ckup!password"),
    ("replication", "Repl1cation!password"),
    ("monitoring", "M0nitoring!password"),
];

/// The overlay with accounts, under a setting.
pub fn with_accounts(strict: &Strict, passwords: &[(&str, &str)], replicas: u32) -> Result<Cluster> {
    set::start_from(tested().overlay_with_passwords, &[], replicas, |manifests| {
        manifests.secrets.insert("mysql-passwords".to_owned(), keys(passwords));
        strict.set(manifests);
    })
}

fn keys(passwords: &[(&str, &str)]) -> BTreeMap<String, String> {
    passwords.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// In statements that every `sql_mode` understands.
const ROWS: &str =
    "CREATE DATABASE app; CREATE TABLE app.rows (id INT PRIMARY KEY); INSERT INTO app.rows VALUES (1), (2); COMMIT";

fn come_up_and_grow(strict: &Strict) -> Result<()> {
    let cluster = set::start(1, |manifests| strict.set(manifests))?;
    cluster.wait_ready(1)?;
    cluster.sql("mysql-0", ROWS)?;
    cluster.scale(2);
    cluster.wait_ready(2)?;
    cluster.sql("mysql-0", "INSERT INTO app.rows VALUES (3); COMMIT")?;
    cluster.wait_for("the rows", PATIENCE, || Ok(cluster.sql("mysql-1", "SELECT id FROM app.rows")?.len() == 3))
}

#[test]
fn a_set_comes_up_and_grows_under_each_setting() -> Result<()> {
    let only = std::env::var("ONLY").ok();
    for strict in STRICT.iter().filter(|strict| only.as_deref().is_none_or(|only| only == strict.name)) {
        come_up_and_grow(strict).map_err(|error| error.context(strict.name))?;
    }
    Ok(())
}

#[test]
fn accounts_are_made_where_passwords_are_validated() -> Result<()> {
    needs!(Plugins);
    let cluster = with_accounts(&PASSWORD_VALIDATION, &STRONG, 2)?;
    cluster.wait_ready(2)?;
    // MariaDB's binary log must be free of passwords in clear text.
    for entry in std::fs::read_dir(cluster.volume("mysql-0").join("mysql"))? {
        let path = entry?.path();
        if path.to_string_lossy().contains("-bin.0") {
            let bytes = std::fs::read(&path)?;
            for (key, password) in STRONG {
                let found = bytes.windows(password.len()).any(|window| window == password.as_bytes());
                ensure!(!found, "the password {key} is in {}", path.display());
            }
        }
    }
    Ok(())
}

#[test]
fn a_password_that_is_too_weak_is_named() -> Result<()> {
    needs!(Plugins);
    let mut passwords = STRONG;
    passwords[2].1 = "weak";
    let cluster = with_accounts(&PASSWORD_VALIDATION, &passwords, 1)?;
    set::wait_for_log(&cluster, "mysql-0", "sidecar", "event=account.not_kept")?;
    let log = cluster.logs("mysql-0", "sidecar");
    ensure!(log.contains("refuses the password of \"backup\"") && !log.contains("weak\""), "{log}");
    Ok(())
}

/// MariaDB quotes the refused password, and that came into log and status.
#[test]
fn a_replication_password_that_is_too_long_is_named_and_shown_nowhere() -> Result<()> {
    let long = format!("Repl1cation!{}", "x".repeat(100));
    let mut passwords: [(&str, &str); 5] = STRONG;
    passwords[3].1 = &long;
    let cluster = with_accounts(&AS_SHIPPED, &passwords, 2)?;
    cluster.wait_for("the event", PATIENCE, || {
        let log = cluster.logs("mysql-1", "sidecar");
        Ok(log.contains("event=replication.password_too_long") || log.contains("xxxxxxxxxx"))
    })?;
    let status = cluster.status_page("mysql-1")?;
    for text in [cluster.logs("mysql-1", "sidecar"), cluster.logs("mysql-0", "sidecar"), status] {
        ensure!(!text.contains("xxxxxxxxxx"), "the password is shown:\n{text}");
    }
    ensure!(cluster.is_unready_by("mysql-1", Event::ReplicationPasswordTooLong)?, "{}", cluster.describe());
    Ok(())
}

#[test]
fn a_primary_with_semi_sync_and_no_replica_becomes_ready() -> Result<()> {
    let cluster = with_semi_sync(1)?;
    cluster.wait_ready(1)?;
    cluster.scale(2);
    cluster.wait_ready(2)
}

#[test]
fn a_locked_account_is_reported_and_its_primary_becomes_ready() -> Result<()> {
    let cluster = with_accounts(&AS_SHIPPED, &STRONG, 1)?;
    cluster.wait_ready(1)?;
    cluster.sql_as("mysql-0", "root", STRONG[0].1, "ALTER USER monitoring@'%' ACCOUNT LOCK")?;
    cluster.signal("mysql-0", "sidecar", rustix::process::Signal::KILL)?;
    set::wait_for_log(&cluster, "mysql-0", "sidecar", "event=account.not_kept")?;
    let log = cluster.logs("mysql-0", "sidecar");
    ensure!(log.contains("\"monitoring\"") && log.contains("ACCOUNT UNLOCK"), "{log}");
    cluster.wait_ready(1)
}

/// MySQL would wait for a replica for ever, and block all logins.
#[test]
fn with_semi_sync_an_account_is_changed_once_a_replica_is_there() -> Result<()> {
    let cluster = with_semi_sync(1)?;
    cluster.wait_ready(1)?;
    let new = "M0nitoring!password2";
    let is_changed = || cluster.sql_as("mysql-0", "monitoring", new, "SELECT 1").is_ok();
    cluster.set_secret("mysql-passwords", "monitoring", new)?;
    if !tested().is_mariadb() {
        set::wait_for_log(&cluster, "mysql-0", "sidecar", "event=account.not_kept")?;
        ensure!(!is_changed(), "without a replica");
    }
    cluster.signal("mysql-0", "mysql", rustix::process::Signal::KILL)?;
    cluster.wait_for("the server's second start", PATIENCE, || {
        Ok(cluster.status("mysql-0")?.containers["mysql"].restarts == 1)
    })?;
    cluster.wait_ready(1)?;
    cluster.sql_as("mysql-0", "root", STRONG[0].1, "SELECT 1")?;
    cluster.scale(2);
    cluster.wait_ready(2)?;
    cluster.wait_for("the new password", PATIENCE, || Ok(is_changed()))
}

/// The replication account is the one that the sidecar does not exempt.
#[test]
fn a_failing_init_connect_blocks_only_the_replication_account() -> Result<()> {
    let strict = STRICT.iter().find(|strict| strict.name == "init_connect").expect("it is one of them");
    let cluster = with_accounts(strict, &STRONG, 1)?;
    cluster.wait_ready(1)?;
    cluster.scale(2);
    set::wait_for_log(&cluster, "mysql-1", "sidecar", "init_connect")?;
    let log = cluster.logs("mysql-1", "sidecar");
    ensure!(log.contains("event=replication.refused") && log.contains("CONNECTION ADMIN"), "{log}");
    let privilege = if tested().is_mariadb() { "CONNECTION ADMIN" } else { "CONNECTION_ADMIN" };
    cluster.sql_as("mysql-0", "root", STRONG[0].1, &format!("GRANT {privilege} ON *.* TO replication@'%'"))?;
    cluster.wait_ready(2)?;
    cluster.delete_pod("mysql-0")?;
    cluster.wait_for("mysql-0 to go", PATIENCE, || Ok(cluster.ready_pods().len() == 1))?;
    cluster.wait_ready(2)
}

/// The account as an administrator, or an earlier version, created it.
const EXPIRED: &str = "ALTER USER replication@'%' PASSWORD EXPIRE";

#[test]
fn a_managed_account_that_expired_is_mended() -> Result<()> {
    let cluster = with_accounts(&AS_SHIPPED, &STRONG, 2)?;
    cluster.wait_ready(2)?;
    let root = |pod: &str, sql: &str| cluster.sql_as(pod, "root", STRONG[0].1, sql);
    root("mysql-0", EXPIRED)?;
    root("mysql-1", "STOP REPLICA IO_THREAD; START REPLICA IO_THREAD")?;
    set::wait_for_log(&cluster, "mysql-1", "sidecar", "event=replication.refused")?;
    cluster.wait_for("the account to be mended", PATIENCE, || {
        let status = cluster.status_page("mysql-1")?;
        let status: serde_json::Value = serde_json::from_str(&status)?;
        Ok(status["replication"]["receiver"] == "running")
    })
}

#[test]
fn a_replica_whose_account_expired_is_not_ready_after_a_time() -> Result<()> {
    let cluster = set::start(2, with_an_account_by_hand)?;
    cluster.wait_ready(2)?;
    cluster.sql("mysql-0", EXPIRED)?;
    cluster.sql("mysql-1", "STOP REPLICA IO_THREAD; START REPLICA IO_THREAD")?;
    cluster.wait_for("mysql-1 to be unready", PATIENCE, || Ok(cluster.ready_pods() == ["mysql-0"]))?;
    let log = cluster.logs("mysql-1", "sidecar");
    ensure!(log.contains("event=replication.refused") && log.contains("PASSWORD EXPIRE NEVER"), "{log}");
    cluster.sql("mysql-0", "ALTER USER replication@'%' IDENTIFIED BY 's3cret' PASSWORD EXPIRE NEVER")?;
    cluster.wait_for("both to be ready again", Duration::from_secs(90), || Ok(cluster.ready_pods().len() == 2))
}

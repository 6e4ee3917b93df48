//! The overlay with passwords: accounts that the set creates itself, and passwords that change while it runs.

use anyhow::{Result, ensure};
use harness::needs;
use harness::pods::manifest::Manifests;
use harness::pods::servers::tested;
use harness::pods::{Cluster, PATIENCE};
use harness::processes::tools_below;
use harness::set;
use mysqlset::model::event::Event;

/// The rows that the replicas must have.
const ONE_ROW: &str = "CREATE DATABASE app; CREATE TABLE app.rows (id INT); INSERT INTO app.rows VALUES (1)";

const SECRET: &str = "mysql-passwords";

/// All keys. One has everything that SQL and options files could misread.
const PASSWORDS: [(&str, &str); 5] = [
    ("root", "r00t"),
    ("clone", "geheim, aber lang genug"),
    ("backup", r#"b'a"c\k#u p"#),
    ("replication", "it's replication"),
    ("monitoring", "m0nitoring"),
];

fn start(replicas: u32, change: impl FnOnce(&mut Manifests)) -> Result<Cluster> {
    set::start_from(tested().overlay_with_passwords, &[], replicas, |manifests| {
        let keys = PASSWORDS.map(|(key, value)| (key.to_owned(), value.to_owned()));
        manifests.secrets.insert(SECRET.to_owned(), keys.into());
        change(manifests);
    })
}

fn root(cluster: &Cluster, password: &str, pod: &str, statement: &str) -> Result<Vec<Vec<String>>> {
    cluster.sql_as(pod, "root", password, statement)
}

fn wait_for_rows(cluster: &Cluster, pods: &[&str], password: &str, count: usize) -> Result<()> {
    for pod in pods {
        cluster.wait_for(&format!("{count} rows in {pod}"), PATIENCE, || {
            Ok(root(cluster, password, pod, "SELECT * FROM app.rows")?.len() == count)
        })?;
    }
    Ok(())
}

/// The keys that change later.
const CHANGED: [(&str, &str); 4] = [
    ("root", "r00t2"),
    ("backup", "backup 2"),
    ("replication", "replication 2"),
    ("clone", "clone 2, and long enough"),
];

/// A password as it is, and as it may appear in SQL or an options file.
fn spellings(password: &str) -> [String; 3] {
    let slashes = password.replace('\\', "\\\\");
    [password.to_owned(), slashes.replace('\'', "''"), slashes.replace('\'', "\\'").replace('"', "\\\"")]
}

fn assert_not_in(place: &str, bytes: &[u8]) -> Result<()> {
    for (key, password) in PASSWORDS.iter().chain(&CHANGED) {
        for spelling in spellings(password) {
            let found = bytes.windows(spelling.len()).any(|window| window == spelling.as_bytes());
            ensure!(!found, "the password {key} is in {place}");
        }
    }
    Ok(())
}

/// Asserts that a container's log and a server's binary and relay logs are free of them.
fn assert_not_written(cluster: &Cluster, pods: &[&str]) -> Result<()> {
    for pod in pods {
        for container in ["init-config", "clone", "mysql", "sidecar"] {
            assert_not_in(&format!("the log of {pod}'s {container}"), cluster.logs(pod, container).as_bytes())?;
        }
        let mut looked_at = 0;
        for entry in std::fs::read_dir(cluster.volume(pod).join("mysql"))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.contains("-bin.0") {
                assert_not_in(&path.display().to_string(), &std::fs::read(&path)?)?;
                looked_at += 1;
            }
        }
        ensure!(looked_at > 0, "{pod} has no binary log");
    }
    Ok(())
}

/// Asserts that the argument lists of a pod's processes are free of them.
fn assert_not_in_arguments(cluster: &Cluster, pod: &str) -> Result<()> {
    for container in ["mysql", "sidecar"] {
        let first = cluster.pid(pod, container)?.to_string();
        for process in tools_below(first.parse()?).into_iter().chain([first]) {
            if let Ok(arguments) = std::fs::read(format!("/proc/{process}/cmdline")) {
                assert_not_in(&format!("an argument list of {pod}'s {container}"), &arguments)?;
            }
        }
    }
    Ok(())
}

#[test]
fn a_set_makes_its_accounts_and_changes_their_passwords_while_it_runs() -> Result<()> {
    let cluster = start(2, |_| {})?;
    cluster.wait_ready(2)?;
    root(&cluster, "r00t", "mysql-0", ONE_ROW)?;
    wait_for_rows(&cluster, &["mysql-1"], "r00t", 1)?;

    // Each account has the rights for its task only.
    cluster.sql_as("mysql-1", "monitoring", "m0nitoring", "SHOW REPLICA STATUS")?;
    let denied = cluster.sql_as("mysql-0", "monitoring", "m0nitoring", "SELECT * FROM app.rows").unwrap_err();
    assert!(denied.to_string().contains("denied"), "{denied}");
    let denied = cluster.sql_as("mysql-0", "replication", "it's replication", "SELECT * FROM app.rows").unwrap_err();
    assert!(denied.to_string().contains("denied"), "{denied}");
    for (user, password) in [("backup", PASSWORDS[2].1), ("mysql", ""), ("root", "")] {
        let outside = cluster.sql_as("mysql-0", user, password, "SELECT 1").unwrap_err();
        assert!(outside.to_string().contains("denied"), "{user} gets in from outside: {outside}");
    }

    // The probe connects through the socket, with the container's own variables.
    let denied = || cluster.logs("mysql-0", "mysql").matches("Access denied for user 'mysql'@'localhost'").count();
    // The image's first server lacks this account.
    let before = denied();
    let output = cluster.exec("mysql-0", "mysql", &["/mysqlset/mysqlset", "probe", "alive"])?;
    assert!(output.status.success() && denied() == before, "{}", String::from_utf8_lossy(&output.stdout));
    assert_not_in_arguments(&cluster, "mysql-0")?;

    // A restart leaves the accounts alone, because they are already right.
    let position = |cluster: &Cluster| root(cluster, "r00t", "mysql-0", tested().end_of_log());
    let before = position(&cluster)?;
    cluster.signal("mysql-0", "sidecar", rustix::process::Signal::KILL)?;
    cluster.wait_for("the sidecar's second start", PATIENCE, || {
        Ok(cluster.status("mysql-0")?.containers["sidecar"].restarts == 1)
    })?;
    cluster.wait_ready(2)?;
    assert_eq!(position(&cluster)?, before);

    for (key, new) in CHANGED {
        cluster.set_secret(SECRET, key, new)?;
    }
    cluster.wait_for("root's new password", PATIENCE, || Ok(root(&cluster, "r00t2", "mysql-0", "SELECT 1").is_ok()))?;
    cluster.wait_for("the new password for replication", PATIENCE, || {
        Ok(cluster.sql_as("mysql-0", "replication", "replication 2", "SELECT 1").is_ok())
    })?;
    assert!(root(&cluster, "r00t", "mysql-0", "SELECT 1").is_err(), "the old password is still good");
    // Replicas that connect again, and a new clone, use the current passwords.
    root(&cluster, "r00t2", "mysql-1", "STOP REPLICA IO_THREAD; START REPLICA IO_THREAD")?;
    cluster.scale(3);
    cluster.wait_ready(3)?;
    root(&cluster, "r00t2", "mysql-0", "INSERT INTO app.rows VALUES (2)")?;
    wait_for_rows(&cluster, &["mysql-1", "mysql-2"], "r00t2", 2)?;
    assert_not_written(&cluster, &["mysql-0", "mysql-1", "mysql-2"])
}

/// The image's temporary server has no TCP. The sidecar's account reaches it through the socket, because the server
/// checks no accounts.
#[test]
fn a_server_is_not_up_while_its_image_upgrades_it() -> Result<()> {
    needs!(MariadbsAccounts);
    let cluster = start(2, |manifests| manifests.set_env("mysql", "MARIADB_AUTO_UPGRADE", "1"))?;
    cluster.wait_ready(2)?;
    for pod in ["mysql-1", "mysql-0"] {
        let answers = || cluster.times_logged(pod, "sidecar", Event::ServerAnswers);
        let temporary = || cluster.times_logged(pod, "sidecar", Event::ServerTemporary);
        let (answers_before, temporary_before) = (answers(), temporary());
        cluster.delete_pod(pod)?;
        cluster.wait_for(&format!("{pod} to go"), PATIENCE, || Ok(cluster.ready_pods().len() == 1))?;
        cluster.wait_ready(2)?;
        assert_eq!(answers(), answers_before + 1, "{}", cluster.logs(pod, "sidecar"));
        assert!(temporary() > temporary_before, "{}", cluster.logs(pod, "sidecar"));
        assert_eq!(cluster.status(pod)?.containers["mysql"].restarts, 0, "{}", cluster.describe());
    }
    root(&cluster, "r00t", "mysql-0", ONE_ROW)?;
    wait_for_rows(&cluster, &["mysql-1"], "r00t", 1)
}

/// MySQL answers for an unknown account as if it existed, with a plugin that it picks for each name.
#[test]
fn a_first_start_of_a_hundred_seconds_is_left_alone() -> Result<()> {
    let cluster = start(1, |manifests| {
        manifests.first_start_scripts().insert("00-long.sh".to_owned(), "sleep 100\n".to_owned());
    })?;
    set::wait_for_log(&cluster, "mysql-0", "sidecar", "event=server.temporary")?;
    // An account that exists on no server may get any plugin.
    for user in ["mysql", "a", "b", "c", "d", "e", "f", "g"] {
        let output = cluster.exec("mysql-0", "mysql", &["/mysqlset/mysqlset", "probe", "alive", "--sql-user", user])?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.code() == Some(1) && said.contains("temporary"), "{user}: {said}");
    }
    assert_eq!(set::state(&cluster, "mysql-0").as_deref(), Some("initialising"));
    cluster.wait_for("the first start to end", 3 * PATIENCE, || Ok(cluster.ready_pods().len() == 1))?;
    for alarm in [Event::FirstStartInterrupted, Event::ServerTurnsAway] {
        ensure!(!cluster.has_logged("mysql-0", "sidecar", alarm), "{}", cluster.logs("mysql-0", "sidecar"));
    }
    assert_eq!(cluster.status("mysql-0")?.containers["mysql"].restarts, 0, "{}", cluster.describe());
    Ok(())
}

/// The account proves its password by a signature (ed25519), or by the password itself, encrypted with the server's
/// key.
#[test]
fn the_sidecar_is_let_in_by_plugins_for_passwords() -> Result<()> {
    needs!(Plugins);
    let sql = if tested().is_mariadb() {
        "INSTALL SONAME 'auth_ed25519'; CREATE USER sidecar@'%' IDENTIFIED VIA ed25519 USING PASSWORD('s3cret');"
    } else {
        "CREATE USER sidecar@'%' IDENTIFIED WITH caching_sha2_password BY 's3cret';"
    };
    let cluster = set::start(1, |manifests| {
        let sql = format!("{sql} GRANT ALL ON *.* TO sidecar@'%' WITH GRANT OPTION;\n");
        manifests.first_start_scripts().insert("sidecar.sql".to_owned(), sql);
        manifests.set_env("sidecar", "MYSQLSET_SQL_USER", "sidecar");
        manifests.set_env("sidecar", "MYSQLSET_SQL_PASSWORD", "s3cret");
    })?;
    cluster.wait_ready(1)?;
    assert_let_in(&cluster, "mysql-0")
}

fn assert_let_in(cluster: &Cluster, pod: &str) -> Result<()> {
    let log = cluster.logs(pod, "sidecar");
    ensure!(!log.contains("server.turns_away") && !log.contains("sidecar.part_failed"), "{log}");
    // The server is alive for every account.
    for password in ["s3cret", "another"] {
        let password = format!("MYSQLSET_SQL_PASSWORD={password}");
        let words = ["env", &password, "/mysqlset/mysqlset", "probe", "alive", "--sql-user", "sidecar"];
        let output = cluster.exec(pod, "mysql", &words)?;
        ensure!(output.status.success(), "{output:?}");
    }
    Ok(())
}

/// The sidecar's account and the replication account. Over TCP a password is encrypted with the server's key.
#[test]
fn accounts_may_have_sha256_password() -> Result<()> {
    needs!(Sha256Password);
    let cluster = set::start(2, |manifests| {
        let make = |user: &str, privileges: &str| {
            let account = format!("CREATE USER {user}@'%' IDENTIFIED WITH sha256_password BY 's3cret'");
            format!("{account}; GRANT {privileges} ON *.* TO {user}@'%' WITH GRANT OPTION;\n")
        };
        let sql = make("sidecar", "ALL") + &make("replication", "REPLICATION SLAVE");
        manifests.first_start_scripts().insert("accounts.sql".to_owned(), sql);
        for (purpose, user) in [("SQL", "sidecar"), ("REPLICATION", "replication")] {
            manifests.set_env("sidecar", &format!("MYSQLSET_{purpose}_USER"), user);
            manifests.set_env("sidecar", &format!("MYSQLSET_{purpose}_PASSWORD"), "s3cret");
        }
    })?;
    cluster.wait_ready(2)?;
    set::fill(&cluster)?;
    cluster.sql("mysql-1", "STOP REPLICA IO_THREAD; START REPLICA IO_THREAD")?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    ["mysql-0", "mysql-1"].iter().try_for_each(|pod| assert_let_in(&cluster, pod))
}

/// Each step of the recovery uses the accounts that are reserved for it.
#[test]
fn a_lost_primary_is_recovered_where_root_has_a_password() -> Result<()> {
    needs!(Gtid);
    let cluster = start(2, |manifests| manifests.set_env("clone", "MYSQLSET_ON_LOST_PRIMARY", "recover"))?;
    cluster.wait_ready(2)?;
    root(&cluster, "r00t", "mysql-0", ONE_ROW)?;
    wait_for_rows(&cluster, &["mysql-1"], "r00t", 1)?;
    cluster.delete_volume("mysql-0")?;
    cluster.wait_ready(2)?;
    root(&cluster, "r00t", "mysql-0", "INSERT INTO app.rows VALUES (2)")?;
    wait_for_rows(&cluster, &["mysql-0", "mysql-1"], "r00t", 2)
}

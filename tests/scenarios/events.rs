//! Events of the event scheduler run only on the primary.

use anyhow::{Context, Result, ensure};
use harness::logged::Said;
use harness::needs;
use harness::pods::manifest::Manifests;
use harness::pods::servers::tested;
use harness::pods::{Cluster, PATIENCE};
use harness::set;
use mysqlset::model::event::Event;
use rustix::process::Signal;

/// The attributes that an event must keep, with any status.
const KEPT: &str = "SELECT EVENT_SCHEMA, EVENT_NAME, DEFINER, TIME_ZONE, EVENT_DEFINITION, EVENT_TYPE, EXECUTE_AT, \
    INTERVAL_VALUE, INTERVAL_FIELD, SQL_MODE, STARTS, ENDS, ON_COMPLETION, CREATED, EVENT_COMMENT, ORIGINATOR, \
    CHARACTER_SET_CLIENT, COLLATION_CONNECTION FROM information_schema.EVENTS ORDER BY EVENT_NAME";

/// A scheduler that runs on all servers, from the first moment.
fn scheduling(manifests: &mut Manifests) {
    manifests.server_files().for_each(|file| file.push_str("event_scheduler = ON\n"));
}

/// One event every second, of a user, with a mode and a time zone of its own. Two further events do nothing.
fn make_events(cluster: &Cluster) -> Result<()> {
    cluster.sql(
        "mysql-0",
        r#"CREATE TABLE app.ticks (id INT AUTO_INCREMENT PRIMARY KEY, server INT UNSIGNED, zone VARCHAR(20), text VARCHAR(20));
        CREATE USER IF NOT EXISTS 'ticker'@'%' IDENTIFIED BY 'Some-pass-1';
        GRANT ALL ON app.* TO 'ticker'@'%';
        SET SESSION time_zone = '+05:00', sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT';
        CREATE DEFINER = 'ticker'@'%' EVENT app."tick`s 'n' more" ON SCHEDULE EVERY 1 SECOND ENDS '2037-01-01 00:00:00'
            ON COMPLETION PRESERVE COMMENT 'it''s "one"'
            DO INSERT INTO app.ticks (server, zone, text) VALUES (@@server_id, @@time_zone, 'a' || 'b');
        SET SESSION sql_mode = '', time_zone = SYSTEM;
        CREATE EVENT app.off ON SCHEDULE EVERY 1 SECOND DISABLE DO INSERT INTO app.ticks (server) VALUES (0);
        CREATE EVENT app.once ON SCHEDULE AT NOW() + INTERVAL 1 YEAR DO INSERT INTO app.ticks (server) VALUES (1);"#,
    )?;
    wait_for_ticks(cluster, 2)
}

fn ticks(cluster: &Cluster, pod: &str) -> Result<u64> {
    Ok(cluster.value(pod, "SELECT COUNT(*) FROM app.ticks")?.parse()?)
}

/// Waits for more rows than now, on the primary.
fn wait_for_ticks(cluster: &Cluster, more: u64) -> Result<()> {
    let before = ticks(cluster, "mysql-0")?;
    cluster.wait_for("the primary's event to run", PATIENCE, || Ok(ticks(cluster, "mysql-0")? >= before + more))
}

fn statuses(cluster: &Cluster, pod: &str) -> Result<Vec<String>> {
    let rows = cluster.sql(pod, "SELECT STATUS FROM information_schema.EVENTS ORDER BY EVENT_NAME")?;
    let status = |row: Vec<String>| row.into_iter().next().context("no status");
    let statuses = rows.into_iter().map(status).collect::<Result<Vec<String>>>()?;
    Ok(statuses
        .into_iter()
        .map(|status| if status.ends_with("SIDE_DISABLED") { "replica".into() } else { status })
        .collect())
}

/// Replication runs, all events are as on the primary, and replicas ran none.
fn assert_events_of_primary_only(cluster: &Cluster, replicas: &[&str]) -> Result<()> {
    wait_for_ticks(cluster, 2)?;
    set::assert_same_rows(cluster, replicas)?;
    for pod in replicas {
        let (code, why) = cluster.http_get(pod, 8307, "/readyz")?;
        ensure!(code == 200, "{pod}: {why}\n{}", cluster.describe());
        assert_eq!(
            cluster.value(pod, "SELECT COUNT(*) FROM app.ticks WHERE server <> 100")?,
            "0",
            "{pod} ran an event"
        );
        ensure!(ticks(cluster, pod)? > 2, "{pod} has no ticks");
        assert_eq!(cluster.value(pod, "SELECT @@event_scheduler")?, "ON");
        assert_eq!(statuses(cluster, pod)?, ["replica", "replica", "replica"].map(str::to_owned), "{pod}");
    }
    Ok(())
}

#[test]
fn events_that_come_with_a_clone_never_run_on_a_replica() -> Result<()> {
    let cluster = set::start(1, scheduling)?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    make_events(&cluster)?;
    let kept = cluster.sql("mysql-0", KEPT)?;
    // The second is cloned from the primary, the third from the second.
    cluster.scale(3);
    cluster.wait_ready(3)?;
    for pod in ["mysql-1", "mysql-2"] {
        wait_for_ticks(&cluster, 2)?;
        set::assert_same_rows(&cluster, &[pod])?;
        assert_eq!(cluster.sql(pod, KEPT)?, kept, "{pod}");
        // An event that its owner had disabled stays disabled.
        assert_eq!(statuses(&cluster, pod)?, ["DISABLED", "replica", "replica"].map(str::to_owned), "{pod}");
        assert_eq!(
            cluster.value(pod, "SELECT COUNT(*) FROM app.ticks WHERE server <> 100")?,
            "0",
            "{pod} ran an event"
        );
        assert_eq!(cluster.value(pod, "SELECT @@event_scheduler")?, "ON");
    }
    let log = cluster.logs("mysql-1", "clone");
    ensure!(log.has_with(Event::EventsDisabled, "app.once, app.tick"), "{log}");

    // Events stay off at later starts too, and so does one that is made or enabled on the primary.
    cluster.sql("mysql-0", "ALTER EVENT app.off ENABLE; ALTER EVENT app.off DISABLE")?;
    cluster.signal("mysql-1", "mysql", Signal::KILL)?;
    cluster.wait_for("its server", PATIENCE, || Ok(cluster.value("mysql-1", "SELECT 1")? == "1"))?;
    cluster.wait_for("mysql-1", PATIENCE, || Ok(cluster.http_get("mysql-1", 8307, "/readyz")?.0 == 200))?;
    cluster.sql("mysql-0", "DELETE FROM app.ticks WHERE server = 0")?;
    assert_events_of_primary_only(&cluster, &["mysql-1", "mysql-2"])?;
    for pod in ["mysql-1", "mysql-2"] {
        set::assert_no_leftovers(&cluster, pod)?;
    }
    Ok(())
}

#[test]
fn events_run_again_on_a_primary_that_was_recovered_from_a_replica() -> Result<()> {
    needs!(Gtid);
    let cluster = set::start(2, |manifests| {
        scheduling(manifests);
        manifests.set_env("clone", "MYSQLSET_ON_LOST_PRIMARY", "recover");
    })?;
    cluster.wait_ready(2)?;
    set::fill(&cluster)?;
    make_events(&cluster)?;
    // One event came by replication, and a user disabled another on the replica itself.
    cluster.delete_volume("mysql-1")?;
    cluster.wait_ready(2)?;
    cluster.sql(
        "mysql-0",
        "CREATE EVENT app.later ON SCHEDULE EVERY 1 SECOND DO INSERT INTO app.ticks (server) VALUES (@@server_id)",
    )?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    let disable = "SET SESSION sql_log_bin = 0; ALTER EVENT app.once DISABLE";
    cluster.sql("mysql-1", &format!("{}{disable}", tested().let_root_write()))?;

    cluster.delete_volume("mysql-0")?;
    cluster.wait_ready(2)?;
    let order = ["ENABLED", "DISABLED", "DISABLED", "ENABLED"].map(str::to_owned);
    assert_eq!(statuses(&cluster, "mysql-0")?, order, "{}", cluster.logs("mysql-0", "clone"));
    let log = cluster.logs("mysql-0", "clone");
    ensure!(log.has_with(Event::EventsEnabled, "app.later, app.tick`s 'n' more"), "{log}");
    wait_for_ticks(&cluster, 4)?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    assert_eq!(cluster.value("mysql-1", "SELECT COUNT(*) FROM app.ticks WHERE server <> 100")?, "0");
    Ok(())
}

/// Most sets have no events, so their clones must have no cost for them.
#[test]
fn a_copy_without_events_is_not_started_for_them() -> Result<()> {
    needs!(BackupTool);
    let cluster = set::start(2, scheduling)?;
    cluster.wait_ready(2)?;
    let log = cluster.logs("mysql-1", "clone");
    let of_events = [Event::EventsDisabled, Event::EventsUnchanged, Event::EventsUnchangedByFlag];
    ensure!(of_events.into_iter().all(|event| !log.has(event)), "{log}");
    Ok(())
}

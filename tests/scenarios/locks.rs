//! A backup that waits for the server's locks: bounded, retried, and without a session that outlives it.

use std::cell::OnceCell;
use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use harness::logged::Said;
use harness::needs;
use harness::pods::{Cluster, PATIENCE};
use harness::set;
use harness::stand_ins::recipient::ask_for_a_clone;
use mysqlset::model::event::Event;
use rustix::process::Signal;

/// A table with a foreign lock. Backups wait for it, and all writers wait behind them.
struct LockedTable(Child);

impl LockedTable {
    fn new(cluster: &Cluster) -> Result<LockedTable> {
        let mut command = cluster.command("mariadb");
        let address = cluster.address("mysql-0")?.to_string();
        command.args(["--no-defaults", "-u", "root", "-h", &address]).stdin(Stdio::piped()).stderr(Stdio::null());
        let mut locked = LockedTable(command.spawn()?);
        let input = locked.0.stdin.as_mut().context("the client's input")?;
        writeln!(input, "LOCK TABLES app.myisam WRITE; CREATE TEMPORARY TABLE app.locked (n INT);")?;
        input.flush()?;
        let is_locked = || Ok(cluster.value("mysql-0", "SHOW OPEN TABLES FROM app WHERE In_use > 0").is_ok());
        cluster.wait_for("the lock", PATIENCE, is_locked)?;
        Ok(locked)
    }
}

impl Drop for LockedTable {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The number of the primary's sessions in a state.
fn sessions(cluster: &Cluster, state: &str) -> Result<usize> {
    let count = format!("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE '{state}%'");
    Ok(cluster.value("mysql-0", &count)?.parse()?)
}

fn primary(change: impl FnOnce(&mut harness::pods::manifest::Manifests)) -> Result<Cluster> {
    let cluster = set::start(1, change)?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    Ok(cluster)
}

#[test]
fn a_backup_that_waits_too_long_is_ended_and_retried() -> Result<()> {
    needs!(BackupTool);
    let cluster = primary(|manifests| manifests.set_env("sidecar", "MYSQLSET_LOCK_WAIT", "1"))?;
    let locked = LockedTable::new(&cluster)?;
    cluster.scale(2);
    cluster.wait_for_event("mysql-0", "sidecar", Event::DonorCloneFailed)?;
    drop(locked);
    cluster.wait_ready(2)?;
    set::assert_same_rows(&cluster, &["mysql-1"])
}

/// On a busy primary some statement writes at every moment. The locks of a backup are granted without a wait for that.
#[test]
fn a_busy_primary_is_cloned_without_waiting() -> Result<()> {
    needs!(BackupTool);
    let cluster = primary(|manifests| manifests.set_env("sidecar", "MYSQLSET_LOCK_WAIT", "5"))?;
    let _writers = (0..3).map(|_| BusySession::new(&cluster)).collect::<Result<Vec<_>>>()?;
    cluster.scale(2);
    cluster.wait_ready(2)?;
    let log = cluster.logs("mysql-1", "clone");
    anyhow::ensure!(log.broken_streams() == 0, "{log}");
    Ok(())
}

/// A client with many statements, each of which takes a while.
struct BusySession(Child);

impl BusySession {
    fn new(cluster: &Cluster) -> Result<BusySession> {
        let mut command = cluster.command("mariadb");
        let address = cluster.address("mysql-0")?.to_string();
        let statements = "INSERT INTO app.keyed (n) SELECT SLEEP(0.5);".repeat(1000);
        command.args(["--no-defaults", "-u", "root", "-h", &address, "-e", &statements]);
        Ok(BusySession(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?))
    }
}

impl Drop for BusySession {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A tool without a bound, like XtraBackup after its first lock.
#[test]
fn a_tool_that_would_wait_for_ever_is_ended() -> Result<()> {
    needs!(BackupTool);
    let cluster = primary(|manifests| {
        manifests.set_env("sidecar", "MYSQLSET_LOCK_WAIT", "1");
        let tool = "#!/bin/sh\nexec /usr/bin/mariadb-backup \"$@\" --ftwrl-wait-timeout=0\n";
        manifests.stand_in("sidecar", "mariadb-backup", tool);
    })?;
    let locked = LockedTable::new(&cluster)?;
    cluster.scale(2);
    cluster.wait_for_event("mysql-0", "sidecar", Event::BackupLockTooLong)?;
    cluster.wait_for_broken_stream("mysql-1", 0)?;
    drop(locked);
    cluster.wait_ready(2)?;
    set::assert_same_rows(&cluster, &["mysql-1"])
}

/// The recipient leaves, or the sidecar is killed, while the backup waits. Its session must end, because all writers
/// wait behind it.
#[test]
fn the_session_of_a_dead_tool_ends() -> Result<()> {
    needs!(BackupTool);
    let cluster = primary(|_| {})?;
    let _locked = LockedTable::new(&cluster)?;
    for kill_sidecar in [false, true] {
        let mut recipient = ask_for_a_clone(&cluster)?;
        let mut reading = recipient.try_clone()?;
        std::thread::spawn(move || while reading.read(&mut [0; 65536]).is_ok_and(|count| count > 0) {});
        cluster.wait_for("the backup to wait", PATIENCE, || Ok(sessions(&cluster, "Waiting for backup lock")? > 0))?;
        if kill_sidecar {
            cluster.signal("mysql-0", "sidecar", Signal::KILL)?;
        } else {
            recipient.shutdown(std::net::Shutdown::Both)?;
        }
        let _ = recipient.read(&mut [0]);
        drop(recipient);
        cluster.wait_for("waits to end", Duration::from_secs(20), || Ok(sessions(&cluster, "Waiting for")? == 0))?;
        cluster.sql("mysql-0", "SET SESSION lock_wait_timeout = 5; INSERT INTO app.aria (n) VALUES (1)")?;
        cluster.wait_ready(1)?;
    }
    Ok(())
}

/// A replica continues to replicate when its backup breaks off.
#[test]
fn a_replica_replicates_on_after_a_backup_that_was_broken_off() -> Result<()> {
    needs!(BackupTool);
    let cluster = set::start(2, |_| {})?;
    cluster.wait_ready(2)?;
    set::fill(&cluster)?;
    for _ in 0..3 {
        let asked = OnceCell::new();
        // The slot of the previous recipient is freed once its tool is gone.
        cluster.wait_for("a slot", PATIENCE, || {
            let mut stream = cluster.connect("mysql-1", 3307)?;
            harness::stand_ins::recipient::greet(&mut stream)?;
            Ok(asked.set(stream).is_ok())
        })?;
        let mut stream = asked.into_inner().context("no donor was asked")?;
        let _ = stream.read(&mut [0; 100_000]);
        drop(stream);
        cluster.sql("mysql-0", "INSERT INTO app.keyless (n) VALUES (7)")?;
        set::assert_same_rows(&cluster, &["mysql-1"])?;
    }
    let sidecar = cluster.pid("mysql-1", "sidecar")?;
    cluster.wait_for("no tool to be left", PATIENCE, || Ok(harness::processes::tools_below(sidecar).is_empty()))?;
    set::assert_no_leftovers(&cluster, "mysql-1")
}

//! Prepare: faults behind the tool's report of success.

use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::logged::Said;
use harness::needs;
use harness::pods::manifest::Manifests;
use harness::pods::servers::tested;
use harness::pods::{Cluster, PATIENCE};
use harness::set;
use harness::writer::Writer;
use mysqlset::model::event::Event;
use mysqlset::unpack::{Format, unpack};
use rustix::process::{Pid, Signal, kill_process};

/// Copies the primary with the tool while rows are being written. The copy goes into the stage of `volume`, with a
/// matching journal.
fn stage_backup(cluster: &Cluster, volume: &Path) -> Result<()> {
    let data = volume.join(".mysqlset-mysql-stage/data");
    std::fs::create_dir_all(&data)?;
    std::fs::create_dir(volume.join("mysql"))?;
    for path in [volume.join("mysql"), data.clone()] {
        chown(path, Some(999), Some(999))?;
    }
    let writer = Writer::start(cluster)?;
    set::fill_much(cluster, 8)?;
    let tool = ["mariadb-backup", "--backup", "--stream=xbstream", "--user=root", "--host=127.0.0.1"];
    let output = cluster.exec("mysql-0", "sidecar", &[&tool[..], &["--datadir=/var/lib/mysql"]].concat())?;
    ensure!(output.status.success(), "the backup failed: {}", String::from_utf8_lossy(&output.stderr));
    unpack(Format::XbstreamMariaDb, &mut output.stdout.as_slice(), &data)?;
    writer.finish()?;
    let clone = r#""clone":{"donor":"x","donor_pod":"mysql-0","tool":"x","bytes":1,"seconds":1.0,"received_at":1,"inventory":"legacy-stream",
        "position":{"by":"mariadb-gtid","slave_pos":"0-100-1"}}"#;
    let journal = format!(r#"{{"version":1,"state":"received","since":1,{clone},"prepare_attempts":0}}"#);
    Ok(std::fs::write(volume.join(".mysqlset-mysql-stage/.mysqlset.json"), journal)?)
}

fn clone(volume: &Path) -> Result<(Option<i32>, String)> {
    let output = tested()
        .command(harness::program())?
        .args(["clone", "--hostname", "mysql-1", "--give-up-after", "0", "--donor", "127.0.0.1:1"])
        // This test examines prepare alone.
        .args(["--rehearsal", "off", "--data-dir"])
        .arg(volume.join("mysql"))
        .output()?;
    Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

#[test]
fn a_log_that_ends_too_early_is_noticed_after_prepare() -> Result<()> {
    needs!(BackupTool);
    let cluster = set::start(1, |_| {})?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;

    let volume = tempfile::tempdir()?;
    stage_backup(&cluster, volume.path())?;
    let (code, log) = clone(volume.path())?;
    assert_eq!(code, Some(0), "{log}");
    assert!(volume.path().join("mysql/ibdata1").exists());
    assert!(!log.has(Event::CopyUnproven) && !log.has(Event::CloneAnotherBackup), "{log}");
    // The tool would choose io_uring by itself.
    assert!(!log.contains("Using io_uring"), "{log}");

    let volume = tempfile::tempdir()?;
    cluster.sql("mysql-0", "DROP TABLE app.bulk")?;
    stage_backup(&cluster, volume.path())?;
    let path = volume.path().join(".mysqlset-mysql-stage/data/ib_logfile0");
    let backup_log = std::fs::OpenOptions::new().write(true).open(&path)?;
    backup_log.set_len(backup_log.metadata()?.len() - 1000)?;
    let (code, log) = clone(volume.path())?;
    // The backup is given up, and another lacks a donor.
    assert_eq!(code, Some(20), "{log}");
    assert!(log.has_with(Event::CloneAnotherBackup, "part of its log is missing or damaged"), "{log}");
    assert!(!volume.path().join("mysql/ibdata1").exists() && !volume.path().join(".mysqlset-mysql-stage").exists());
    Ok(())
}

/// A kernel that kills for memory may take the whole container. Then only the journal knows the number of tries.
#[test]
fn backups_that_can_not_be_prepared_are_counted_across_starts() -> Result<()> {
    needs!(BackupTool);
    let volume = tempfile::tempdir()?;
    let stage = volume.path().join(".mysqlset-mysql-stage");
    for path in [volume.path().join("mysql"), stage.join("data")] {
        std::fs::create_dir_all(&path)?;
        chown(path, Some(999), Some(999))?;
    }
    let leave = |failed: u32| {
        let journal =
            format!(r#"{{"version":1,"state":"preparing","since":1,"prepare_attempts":2,"failed_backups":{failed}}}"#);
        std::fs::create_dir_all(stage.join("data"))?;
        std::fs::write(stage.join(".mysqlset.json"), journal)
    };
    // The one fact that is left of it: the memory was perhaps too much.
    let demand_halvings = |expected: u64| -> Result<()> {
        let journal: serde_json::Value = serde_json::from_slice(&std::fs::read(stage.join(".mysqlset.json"))?)?;
        ensure!(journal["state"] == "receiving" && journal["memory_halvings"] == expected, "{journal}");
        ensure!(!stage.join("data").exists(), "data are left");
        Ok(())
    };
    // After the first failed backup another is requested, which lacks a donor.
    leave(0)?;
    let (code, log) = clone(volume.path())?;
    assert_eq!(code, Some(20), "{log}");
    demand_halvings(1)?;
    // After the second the clone reports the failure, and the next start begins again.
    leave(1)?;
    let (code, log) = clone(volume.path())?;
    assert_eq!(code, Some(41), "{log}");
    demand_halvings(1)?;
    assert_eq!(clone(volume.path())?.0, Some(20));
    demand_halvings(1)
}

const MANY: u32 = 1500;

/// Too few for so many tables. A container's limit may be raised, but the tool here is fixed to this one.
const FEW_DESCRIPTORS: u32 = 256;

/// The first prepare of a container has few descriptors.
fn limit_the_first_prepare(manifests: &mut Manifests) {
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--prepare*) mkdir /tmp/once 2>/dev/null && ulimit -n {FEW_DESCRIPTORS};; esac\n\
         exec /usr/bin/mariadb-backup \"$@\"\n"
    );
    manifests.stand_in("clone", "mariadb-backup", &script);
}

/// Another program fills the volume once, when the first prepare begins. New tables came as zeros, which it writes to.
/// They become holes, as a file system or an unpacking may have made them.
fn fill_the_volume_before_prepare(manifests: &mut Manifests) {
    let script = r#"#!/bin/sh
        case "$*" in *--prepare*)
            for word; do case $word in --target-dir=*) data=${word#--target-dir=}; esac; done
            if [ ! -e "$data/../../filled" ]; then
                find "$data" -name '*.new' | head -n 300 | xargs -n 1 fallocate --dig-holes
                cat /dev/zero >"$data/../../filled" 2>/dev/null
            fi
        esac
        exec /usr/bin/mariadb-backup "$@"
    "#;
    manifests.stand_in("clone", "mariadb-backup", script.trim_start());
}

fn primary_with_many_tables(change: impl FnOnce(&mut Manifests)) -> Result<Cluster> {
    let cluster = set::start(1, |manifests| {
        change(manifests);
        // Only the test has pages written out.
        manifests.server_files().for_each(|file| file.push_str("innodb_max_dirty_pages_pct = 99\n"));
    })?;
    cluster.wait_ready(1)?;
    cluster.sql("mysql-0", "CREATE DATABASE many")?;
    let make = |number| {
        format!(
            "CREATE TABLE many.t{number} (id INT PRIMARY KEY, text VARCHAR(200)); INSERT INTO many.t{number} VALUES (1, 'a');"
        )
    };
    of_many(&cluster, make)?;
    Ok(cluster)
}

fn of_many(cluster: &Cluster, statement: impl Fn(u32) -> String) -> Result<()> {
    for first in (0..MANY).step_by(100) {
        cluster.sql("mysql-0", &(first..first + 100).map(&statement).collect::<String>())?;
    }
    Ok(())
}

fn demand_another_backup_and_the_same_rows(cluster: &Cluster) -> Result<()> {
    cluster.scale(2);
    cluster.wait_ready(2)?;
    let log = cluster.logs("mysql-1", "clone");
    ensure!(log.contains("too many open files: raise the container's limit"), "the tool did not fail: {log}");
    ensure!(log.has(Event::CloneAnotherBackup), "{log}");
    ensure!(!log.contains("already prepared"), "prepared again: {log}");
    ensure!(log.lines().count() < 300, "{} lines", log.lines().count());
    demand_the_same_rows(cluster)
}

fn demand_the_same_rows(cluster: &Cluster) -> Result<()> {
    let names = (0..MANY).map(|number| format!("many.t{number}")).collect::<Vec<_>>().join(", ");
    let [expected, found] = ["mysql-0", "mysql-1"].map(|pod| cluster.sql(pod, &format!("CHECKSUM TABLE {names}")));
    let (expected, found) = (expected?, found?);
    let differ = expected.iter().zip(&found).filter(|(one, other)| one != other).count();
    ensure!(expected.len() == MANY as usize && found.len() == expected.len() && differ == 0, "{differ} tables differ");
    Ok(())
}

/// Earlier, the second prepare left out the tables that the first could not open. Its messages about that were dropped.
#[test]
fn tables_made_since_the_checkpoint_survive_a_prepare_with_few_descriptors() -> Result<()> {
    needs!(BackupTool);
    let cluster = primary_with_many_tables(limit_the_first_prepare)?;
    demand_another_backup_and_the_same_rows(&cluster)
}

/// Only the first prepare reports the fault. The second reports success, and the tables open, with old rows.
#[test]
fn tables_changed_since_the_checkpoint_survive_a_prepare_with_few_descriptors() -> Result<()> {
    needs!(BackupTool);
    let cluster = primary_with_many_tables(limit_the_first_prepare)?;
    cluster.sql("mysql-0", "SET GLOBAL innodb_max_dirty_pages_pct = 0")?;
    cluster.wait_for("pages written out", PATIENCE, || {
        Ok(cluster.value(
            "mysql-0",
            "SELECT VARIABLE_VALUE = 0 FROM information_schema.GLOBAL_STATUS WHERE \
            VARIABLE_NAME = 'Innodb_buffer_pool_pages_dirty'",
        )? == "1")
    })?;
    cluster.sql("mysql-0", "SET GLOBAL innodb_max_dirty_pages_pct = 99")?;
    of_many(&cluster, |number| format!("UPDATE many.t{number} SET text = REPEAT('b', 100);"))?;
    demand_another_backup_and_the_same_rows(&cluster)
}

/// mariadb-backup 10.11 reports the failed write ten thousand times a second, for ever.
#[test]
fn a_volume_that_fills_up_during_prepare_is_named_and_freed() -> Result<()> {
    needs!(BackupTool);
    let cluster = primary_with_many_tables(fill_the_volume_before_prepare)?;
    cluster.limit_volume("mysql-1", 600 << 20);
    // An idle server writes its pages out.
    set::fill(&cluster)?;
    let writer = Writer::start(&cluster)?;
    let make =
        |number| format!("CREATE TABLE many.n{number} (id INT PRIMARY KEY); INSERT INTO many.n{number} VALUES (1);");
    cluster.sql("mysql-0", &(0..100).map(make).collect::<String>())?;
    cluster.scale(2);
    cluster.wait_for_event("mysql-1", "clone", Event::PrepareBegun)?;
    let began = Instant::now();
    writer.finish()?;
    // Later starts report the lack of room.
    let is_end = |event: &String| event.names(Event::ExitDiskFull) && event.contains("the volume is full");
    cluster.wait_for("the end of mysql-1's clone", PATIENCE, || Ok(cluster.events().iter().any(is_end)))?;
    // The fill itself takes a while too.
    ensure!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let log = cluster.logs("mysql-1", "clone");
    ensure!(log.lines().count() < 300, "{} lines", log.lines().count());
    let volume = cluster.volume("mysql-1");
    ensure!(!volume.join("mysql/ibdata1").exists(), "published");
    // The next start begins again and has enough room.
    std::fs::write(volume.join("filled"), "")?;
    cluster.wait_ready(2)?;
    demand_the_same_rows(&cluster)
}

/// The tool reports a first page that it cannot validate.
#[test]
fn a_donors_tool_with_few_descriptors_is_named() -> Result<()> {
    needs!(BackupTool);
    let cluster = set::start(1, |manifests| {
        let script = "#!/bin/sh\ncase \"$*\" in *--backup*) ulimit -n 64;; esac\nexec /usr/bin/mariadb-backup \"$@\"\n";
        manifests.stand_in("sidecar", "mariadb-backup", script);
    })?;
    cluster.wait_ready(1)?;
    cluster.sql("mysql-0", "CREATE DATABASE many")?;
    let make = |number| format!("CREATE TABLE many.t{number} (id INT PRIMARY KEY);");
    cluster.sql("mysql-0", &(0..100).map(make).collect::<String>())?;
    cluster.scale(2);
    set::wait_for_log(&cluster, "mysql-1", "clone", "too many open files: raise the container's limit")?;
    let log = cluster.logs("mysql-0", "sidecar");
    ensure!(log.has_with(Event::DonorCloneFailed, "too many open files"), "{log}");
    Ok(())
}

/// Deletion of a pod kills its prepare. The backup and the memory are not at fault.
#[test]
fn a_prepare_that_was_stopped_is_repeated_with_all_of_its_memory() -> Result<()> {
    needs!(BackupTool);
    let volume = tempfile::tempdir()?;
    let stage = volume.path().join(".mysqlset-mysql-stage");
    for path in [volume.path().join("mysql"), stage.join("data")] {
        std::fs::create_dir_all(&path)?;
        chown(path, Some(999), Some(999))?;
    }
    std::fs::write(stage.join("data/ib_logfile0"), "a log")?;
    std::fs::write(stage.join("data/backup-my.cnf"), "[mysqld]\ninnodb_page_size=16384\n")?;
    let clone = r#""clone":{"donor":"x","donor_pod":"mysql-0","tool":"x","bytes":1,"seconds":1.0,"received_at":1,"inventory":"legacy-stream",
        "position":{"by":"mariadb-gtid","slave_pos":"0-100-1"}}"#;
    let journal = format!(r#"{{"version":1,"state":"received","since":1,{clone},"prepare_attempts":0}}"#);
    std::fs::write(stage.join(".mysqlset.json"), journal)?;
    // A tool whose prepare never ends.
    let (programs, calls) = (tempfile::tempdir()?, volume.path().join("calls"));
    let tool = programs.path().join("mariadb-backup");
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--prepare*) echo \"$*\" >>{}; exec sleep 60;; esac\nexec /usr/bin/mariadb-backup \"$@\"\n",
        calls.display()
    );
    std::fs::write(&tool, script)?;
    std::fs::set_permissions(&tool, PermissionsExt::from_mode(0o755))?;
    let path = format!("{}:{}", programs.path().display(), std::env::var("PATH")?);
    // More often than a killed prepare is repeated.
    for (signal, code) in [(Signal::TERM, Some(143)); 3].into_iter().chain([(Signal::KILL, None)]) {
        let begun = std::fs::read_to_string(&calls).unwrap_or_default().lines().count();
        let mut clone = tested()
            .command(harness::program())?
            .args(["clone", "--hostname", "mysql-1", "--give-up-after", "0", "--donor", "127.0.0.1:1"])
            .args(["--rehearsal", "off", "--data-dir"])
            .arg(volume.path().join("mysql"))
            .env("PATH", &path)
            .spawn()?;
        let deadline = Instant::now() + PATIENCE;
        while std::fs::read_to_string(&calls).unwrap_or_default().lines().count() == begun {
            ensure!(clone.try_wait()?.is_none() && Instant::now() < deadline, "no prepare after {begun}");
            std::thread::sleep(Duration::from_millis(5));
        }
        let told = Instant::now();
        kill_process(Pid::from_child(&clone), signal)?;
        assert_eq!(clone.wait()?.code(), code);
        ensure!(told.elapsed() < Duration::from_secs(2), "{:?}", told.elapsed());
        let journal: serde_json::Value = serde_json::from_slice(&std::fs::read(stage.join(".mysqlset.json"))?)?;
        assert_eq!(journal["memory_halvings"].as_u64(), None, "{journal}");
        assert_eq!(journal["prepare_attempts"] == 0, signal == Signal::TERM, "{journal}");
        ensure!(stage.join("data/ib_logfile0").exists() && journal["state"] == "preparing", "{journal}");
    }
    let calls = std::fs::read_to_string(&calls)?;
    let memory: BTreeSet<_> = calls.split_whitespace().filter(|word| word.starts_with("--use-memory")).collect();
    assert_eq!((memory.len(), calls.lines().count()), (1, 4), "{calls}");
    Ok(())
}

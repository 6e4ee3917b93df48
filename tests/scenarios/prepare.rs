//! Prepare: what the tool's word for success does not say.

use std::os::unix::fs::chown;
use std::path::Path;

use anyhow::{Result, ensure};
use mysqlset::unpack::{Format, unpack};

use crate::needs;
use crate::pods::Cluster;
use crate::pods::servers::tested;
use crate::set;

/// Has the tool copy the primary while rows are being written, into the stage of `volume`, with a journal that says so.
fn stage_backup(cluster: &Cluster, volume: &Path) -> Result<()> {
    let data = volume.join(".mysqlset-mysql-stage/data");
    std::fs::create_dir_all(&data)?;
    std::fs::create_dir(volume.join("mysql"))?;
    for path in [volume.join("mysql"), data.clone()] {
        chown(path, Some(999), Some(999))?;
    }
    let writer = set::Writer::start(cluster)?;
    set::fill_much(cluster, 8)?;
    let tool = ["mariadb-backup", "--backup", "--stream=xbstream", "--user=root", "--host=127.0.0.1"];
    let output = cluster.exec("mysql-0", "sidecar", &[&tool[..], &["--datadir=/var/lib/mysql"]].concat())?;
    ensure!(output.status.success(), "the backup failed: {}", String::from_utf8_lossy(&output.stderr));
    unpack(Format::XbstreamMariaDb, &mut output.stdout.as_slice(), &data)?;
    writer.finish()?;
    let clone = r#""clone":{"donor":"x","donor_pod":"mysql-0","tool":"x","bytes":1,"seconds":1.0,"received_at":1,
        "position":{"by":"mariadb-gtid","slave_pos":"0-100-1"}}"#;
    let journal = format!(r#"{{"version":1,"state":"received","since":1,{clone},"prepare_attempts":0}}"#);
    Ok(std::fs::write(volume.join(".mysqlset-mysql-stage/.mysqlset.json"), journal)?)
}

fn clone(volume: &Path) -> Result<(Option<i32>, String)> {
    let output = tested()
        .command(set::BINARY)?
        .args(["clone", "--hostname", "mysql-1", "--give-up-after", "0", "--donor", "127.0.0.1:1", "--data-dir"])
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
    assert!(!log.contains("is not checked"), "{log}");
    // What the tool takes by itself where it may.
    assert!(!log.contains("Using io_uring"), "{log}");

    let volume = tempfile::tempdir()?;
    cluster.sql("mysql-0", "DROP TABLE app.bulk")?;
    stage_backup(&cluster, volume.path())?;
    let path = volume.path().join(".mysqlset-mysql-stage/data/ib_logfile0");
    let backup_log = std::fs::OpenOptions::new().write(true).open(&path)?;
    backup_log.set_len(backup_log.metadata()?.len() - 1000)?;
    let (code, log) = clone(volume.path())?;
    // The backup is given up, and there is no donor for another.
    assert_eq!(code, Some(20), "{log}");
    assert!(log.contains("part of its log is missing or damaged"), "{log}");
    assert!(!volume.path().join("mysql/ibdata1").exists() && !volume.path().join(".mysqlset-mysql-stage").exists());
    Ok(())
}

/// A kernel that kills for memory may take the whole container: only the journal knows then how often it was tried.
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
    // The first backup: another is asked for, and there is no donor.
    leave(0)?;
    let (code, log) = clone(volume.path())?;
    assert_eq!(code, Some(20), "{log}");
    // The second: that is said, and the next start begins anew.
    leave(1)?;
    let (code, log) = clone(volume.path())?;
    assert_eq!(code, Some(41), "{log}");
    assert!(!stage.exists());
    assert_eq!(clone(volume.path())?.0, Some(20));
    Ok(())
}

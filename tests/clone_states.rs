//! The outcomes of `mysqlset clone` for each state of the data directory, run as in a container. All tests here run
//! without a donor.
//!
//! Needs root, as all tests here do: it changes owners.

use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::logged::Said;
use mysqlset::model::event::Event;
use tempfile::TempDir;

/// A volume with a data directory `mysql` on it.
struct Volume(TempDir);

struct Ended {
    code: Option<i32>,
    log: String,
}

impl Volume {
    fn new() -> Volume {
        Volume(tempfile::tempdir().unwrap())
    }

    fn data_dir(&self) -> PathBuf {
        self.0.path().join("mysql")
    }

    /// Makes the data directory, owned by a user, with files in it.
    fn with(files: &[(&str, &str)]) -> Volume {
        let volume = Volume::new();
        std::fs::create_dir(volume.data_dir()).unwrap();
        for (name, text) in files {
            let path = volume.data_dir().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        chown(volume.data_dir(), Some(999), Some(999)).unwrap();
        volume
    }

    fn clone(&self, hostname: &str, arguments: &[&str]) -> Ended {
        let output = Command::new(env!("CARGO_BIN_EXE_mysqlset"))
            .args(["clone", "--hostname", hostname, "--give-up-after", "0", "--donor", "127.0.0.1:1"])
            .arg("--data-dir")
            .arg(self.data_dir())
            .args(arguments)
            .output()
            .unwrap();
        Ended { code: output.status.code(), log: String::from_utf8_lossy(&output.stderr).into_owned() }
    }

    fn names(&self, directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn journal(state: &str) -> String {
    format!(r#"{{"version":1,"state":"{state}","since":1,"prepare_attempts":0}}"#)
}

#[test]
fn an_interrupted_clone_stops_the_primary() {
    for state in ["receiving", "received", "preparing", "publishing"] {
        let volume = Volume::with(&[]);
        let stage = volume.0.path().join(".mysqlset-mysql-stage");
        std::fs::create_dir_all(stage.join("data")).unwrap();
        std::fs::write(stage.join(".mysqlset.json"), journal(state)).unwrap();
        let ended = volume.clone("mysql-0", &[]);
        assert_eq!(ended.code, Some(30), "{state}: {}", ended.log);
        assert!(ended.log.has(Event::ExitHalfMade), "{}", ended.log);
        assert_eq!(volume.names(&volume.data_dir()), [""; 0]);
    }
}

/// A file counts the tries. A number beyond this program's own must be refused without a crash.
#[test]
fn counters_at_their_maximum_end_the_tries() {
    let volume = Volume::with(&[]);
    let stage = volume.0.path().join(".mysqlset-mysql-stage");
    std::fs::create_dir_all(stage.join("data")).unwrap();
    let most = r#""prepare_attempts":4294967295,"failed_backups":4294967295,"memory_halvings":4294967295"#;
    let journal = format!(r#"{{"version":1,"state":"preparing","since":1,{most}}}"#);
    std::fs::write(stage.join(".mysqlset.json"), journal).unwrap();
    let ended = volume.clone("mysql-1", &[]);
    assert_eq!(ended.code, Some(41), "{}", ended.log);
}

#[test]
fn data_set_aside_are_kept_and_need_a_known_owner() {
    let half = [("xtrabackup_checkpoints", "backup_type = full-backuped\n"), ("ibdata1", "x"), ("mysql/user", "x")];
    let volume = Volume::with(&half);
    let ended = volume.clone("mysql-0", &[]);
    assert_eq!(ended.code, Some(30), "{}", ended.log);
    assert!(ended.log.has_with(Event::ExitHalfMade, "--on-half-made set-aside"), "{}", ended.log);

    // The data directory belongs to a user: `clone` runs as root and gives the new one to the same user.
    let ended = volume.clone("mysql-0", &["--on-half-made", "set-aside"]);
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let names = volume.names(volume.0.path());
    assert!(names[0].starts_with(".mysqlset-mysql-aside-") && names[1] == "mysql", "{names:?}");
    assert_eq!(volume.names(&volume.0.path().join(&names[0])), ["ibdata1", "mysql", "xtrabackup_checkpoints"]);
    for path in [volume.data_dir(), volume.data_dir().join(".mysqlset.json")] {
        assert_eq!(path.metadata().unwrap().uid(), 999, "{}", path.display());
    }

    // The right owner is unknown: `clone` leaves everything in place.
    let volume = Volume::with(&half);
    chown(volume.data_dir(), Some(0), Some(0)).unwrap();
    let ended = volume.clone("mysql-0", &["--on-half-made", "set-aside"]);
    assert_eq!(ended.code, Some(34), "{}", ended.log);
    assert_eq!(volume.names(&volume.data_dir()), ["ibdata1", "mysql", "xtrabackup_checkpoints"]);
}

#[test]
fn whole_data_stay_and_their_journal_gets_the_owner() {
    let volume = Volume::with(&[(".mysqlset.json", &journal("published")), ("ibdata1", "x"), ("mysql/user", "x")]);
    let ended = volume.clone("mysql-1", &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.log.has(Event::DataComplete), "{}", ended.log);
    assert_eq!(volume.data_dir().join(".mysqlset.json").metadata().unwrap().uid(), 999);
    assert_eq!(std::fs::read_to_string(volume.data_dir().join("ibdata1")).unwrap(), "x");
}

#[test]
fn a_malformed_journal_is_refused() {
    for text in ["", "{", "{\"version\":1,\"state\":\"wonderful\"}", "{\"version\":99}"] {
        let volume = Volume::with(&[(".mysqlset.json", text), ("ibdata1", "x"), ("mysql/user", "x")]);
        let ended = volume.clone("mysql-1", &[]);
        assert_eq!(ended.code, Some(32), "{text}: {}", ended.log);
        assert_eq!(volume.names(&volume.data_dir()), [".mysqlset.json", "ibdata1", "mysql"]);
    }
}

/// Earlier versions removed a copy before its journal. A later start then finds a journal alone.
#[test]
fn a_journal_without_its_copy_is_a_new_beginning() {
    for state in ["received", "preparing", "prepared"] {
        // Storage's own entries make the data directory a volume's root. The journal lies inside it.
        let volume = Volume::with(&[("lost+found/x", ""), (".mysqlset.json", &journal(state))]);
        for _ in 0..2 {
            let ended = volume.clone("mysql-1", &[]);
            assert_eq!(ended.code, Some(20), "{state}: {}", ended.log);
        }
        assert_eq!(volume.names(&volume.data_dir()), ["lost+found"]);
    }
}

fn publishing(names: &str) -> String {
    let record = r#""clone":{"donor":"x","donor_pod":"mysql-0","tool":"x","bytes":1,"seconds":1.0,"received_at":1,
        "inventory":{"donor":{"bytes":1,"digest":"00"}}}"#;
    journal("publishing").replace(r#""since":1"#, &format!(r#""since":1,"names":[{names}],{record}"#))
}

/// `rm -rf DIR/*` leaves names that begin with a dot.
#[test]
fn a_copy_that_was_removed_while_it_was_published_is_no_copy() {
    let journal = publishing(r#""ibdata1","mysql""#);
    let kept = [("lost+found/x", ""), (".mysqlset.json", &journal[..])];
    for staged in [&[][..], &[(".mysqlset-stage/data/mysql/user", "x")]] {
        let volume = Volume::with(&[&kept[..], staged].concat());
        let ended = volume.clone("mysql-1", &[]);
        assert_eq!(ended.code, Some(20), "{}", ended.log);
        assert!(ended.log.has_with(Event::CopyPartGone, "ibdata1 has disappeared"), "{}", ended.log);
        assert_eq!(volume.names(&volume.data_dir()), ["lost+found"]);
    }
    let volume = Volume::with(&[&kept[..], &[("mysql/user", "x")]].concat());
    let ended = volume.clone("mysql-1", &[]);
    assert_eq!(ended.code, Some(30), "{}", ended.log);
    assert!(ended.log.has_with(Event::ExitHalfMade, "ibdata1 has disappeared"), "{}", ended.log);
    // Beside the data directory: half of the copy, then the journal alone.
    for staged in ["data/mysql", ""] {
        let volume = Volume::with(&[]);
        let stage = volume.0.path().join(".mysqlset-mysql-stage");
        std::fs::create_dir_all(stage.join(staged)).unwrap();
        std::fs::write(stage.join(".mysqlset.json"), &journal).unwrap();
        let ended = volume.clone("mysql-1", &[]);
        assert_eq!(ended.code, Some(20), "{staged}: {}", ended.log);
        assert!(ended.log.has(Event::CopyPartGone) && !stage.exists(), "{staged}: {}", ended.log);
    }
}

/// As after a mount of the data directory was moved one level up.
#[test]
fn a_clone_that_began_inside_its_data_directory_is_finished_there() {
    let journal = publishing(r#""ibdata1","mysql""#);
    let volume =
        Volume::with(&[(".mysqlset.json", &journal), ("ibdata1", "x"), (".mysqlset-stage/data/mysql/user", "x")]);
    let ended = volume.clone("mysql-1", &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(volume.names(&volume.data_dir()), [".mysqlset.json", "ibdata1", "mysql"]);
    let volume =
        Volume::with(&[(".mysqlset.json", &self::journal("receiving")), (".mysqlset-stage/data/ibdata1", "x")]);
    let ended = volume.clone("mysql-1", &[]);
    assert_eq!(ended.code, Some(20), "{}", ended.log);
    assert_eq!(volume.names(&volume.data_dir()), [""; 0]);
}

#[test]
fn a_link_with_a_stages_name_is_not_followed() {
    let other = tempfile::tempdir().unwrap();
    std::fs::create_dir(other.path().join("data")).unwrap();
    std::fs::write(other.path().join("data/precious"), "").unwrap();
    std::fs::write(other.path().join(".mysqlset.json"), journal("prepared")).unwrap();
    let volume = Volume::with(&[]);
    let stage = volume.0.path().join(".mysqlset-mysql-stage");
    std::os::unix::fs::symlink(other.path(), &stage).unwrap();
    let ended = volume.clone("mysql-1", &[]);
    assert_eq!(ended.code, Some(20), "{}", ended.log);
    assert!(ended.log.has(Event::StageImpostor) && stage.symlink_metadata().is_err(), "{}", ended.log);
    assert!(other.path().join("data/precious").exists());
}

#[test]
fn a_journal_that_is_no_file_is_refused() {
    let volume = Volume::with(&[]);
    let path = volume.data_dir().join(".mysqlset.json");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let ended = volume.clone("mysql-1", &[]);
    assert_eq!(ended.code, Some(32), "{}", ended.log);
}

/// Its server needs the directory to start.
#[test]
fn a_directory_configured_during_publishing_is_made() {
    let journal = publishing("");
    let config = tempfile::tempdir().unwrap();
    std::fs::write(
        config.path().join("pod.cnf"),
        "[mysqld]\nlog_bin = binlogs/b\nslow_query_log_file = mysql/slow/log\n",
    )
    .unwrap();
    let inside: [&[(&str, &str)]; 2] = [
        &[
            ("lost+found/x", ""),
            (".mysqlset.json", &journal),
            (".mysqlset-stage/data/ibdata1", "x"),
            (".mysqlset-stage/data/mysql/user", "x"),
        ],
        &[("lost+found/x", ""), (".mysqlset.json", &journal), ("ibdata1", "x"), ("mysql/user", "x")],
    ];
    let beside = Volume::with(&[]);
    let stage = beside.0.path().join(".mysqlset-mysql-stage");
    std::fs::create_dir_all(stage.join("data/mysql")).unwrap();
    std::fs::write(stage.join(".mysqlset.json"), &journal).unwrap();
    for volume in inside.map(Volume::with).into_iter().chain([beside]) {
        let ended = volume.clone("mysql-1", &["--server-config", config.path().to_str().unwrap()]);
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        for directory in ["binlogs", "mysql/slow"] {
            let found = volume.data_dir().join(directory).metadata().unwrap();
            assert!(found.is_dir() && found.uid() == 999, "{directory}: {}", found.uid());
        }
    }
}

/// Version 0.1.0 published unproven copies.
#[test]
fn a_copy_that_an_earlier_version_began_to_publish_is_proven_or_refused() {
    let record = r#""clone":{"donor":"x","donor_pod":"mysql-0","tool":"x","bytes":1,"seconds":1.0,"received_at":1}"#;
    let journal = journal("publishing").replace(r#""since":1"#, &format!(r#""since":1,{record}"#));
    let staged = ".mysqlset-stage/data/ibdata1";
    let files = [("lost+found/x", ""), (".mysqlset.json", &journal), (staged, "x")];
    let ended = Volume::with(&files).clone("mysql-1", &[]);
    assert!(ended.log.has(Event::CloneProvenAgain) && ended.code != Some(0), "{}", ended.log);
    let volume = Volume::with(&[&files[..], &[("mysql/user", "x")]].concat());
    let ended = volume.clone("mysql-1", &[]);
    assert_eq!(ended.code, Some(30), "{}", ended.log);
    assert!(volume.data_dir().join(staged).exists());
}

#[test]
fn giving_up_leaves_no_part_of_a_backup() {
    let volume = Volume::with(&[]);
    let stage = volume.0.path().join(".mysqlset-mysql-stage");
    std::fs::create_dir_all(stage.join("data")).unwrap();
    std::fs::write(stage.join("data/ibdata1"), "what fills the volume").unwrap();
    std::fs::write(stage.join(".mysqlset.json"), journal("receiving")).unwrap();
    let ended = volume.clone("mysql-1", &[]);
    assert_eq!(ended.code, Some(20), "{}", ended.log);
    assert!(!stage.exists());
}

#[test]
fn an_unreadable_configuration_is_refused_with_its_name() {
    let config = tempfile::tempdir().unwrap();
    let argument = config.path().to_str().unwrap();
    let large = config.path().join("large.cnf");
    std::fs::File::create(&large).unwrap().set_len((1 << 20) + 1).unwrap();
    let refused = |name: &str| {
        let volume = Volume::new();
        let ended = volume.clone("mysql-1", &["--server-config", argument, "--owner", "999:999"]);
        assert_eq!(ended.code, Some(21), "{}", ended.log);
        assert!(ended.log.has_with(Event::ExitRefused, name), "{}", ended.log);
        assert!(!volume.data_dir().exists());
    };
    refused("large.cnf");
    std::fs::remove_file(large).unwrap();
    assert!(Command::new("mkfifo").arg(config.path().join("pipe.cnf")).status().unwrap().success());
    refused("pipe.cnf");
}

#[test]
fn storages_entries_in_a_volumes_root_are_named_and_kept() {
    let storages = ["lost+found/x", ".snapshot/hourly.0/ibdata1", ".Trash-0/files/x", ".zfs/shares/x"];
    let volume = Volume::with(&storages.map(|name| (name, "")));
    let ended = volume.clone("mysql-0", &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.log.has_with(Event::StoragesEntries, ".Trash-0, .snapshot, .zfs, lost+found"), "{}", ended.log);
    for name in storages {
        assert!(volume.data_dir().join(name).exists(), "{name}");
    }
    // `clone` sets aside only where storage's entries stay in place. It names every other entry.
    std::fs::write(volume.data_dir().join("notes.txt"), "").unwrap();
    std::fs::remove_file(volume.data_dir().join(".mysqlset.json")).unwrap();
    let ended = volume.clone("mysql-0", &["--on-half-made", "set-aside"]);
    assert_eq!(ended.code, Some(30), "{}", ended.log);
    let ended = volume.clone("mysql-0", &[]);
    assert!(ended.code == Some(30) && ended.log.has_with(Event::ExitHalfMade, "notes.txt"), "{}", ended.log);
}

/// After a full outage every other pod is silent.
#[test]
fn an_empty_primary_of_a_set_with_data_is_refused_without_peers() {
    let volume = Volume::with(&[]);
    let ended = volume.clone("mysql-0", &["--set-has-data"]);
    assert_eq!(ended.code, Some(35), "{}", ended.log);
    for text in ["--set-has-data", "--on-lost-primary", "start-anew"] {
        assert!(ended.log.has_with(Event::ExitPrimaryLost, text), "{text}: {}", ended.log);
    }
    assert_eq!(volume.names(&volume.data_dir()), [""; 0]);
    let ended = volume.clone("mysql-0", &["--set-has-data", "--on-lost-primary", "start-anew"]);
    assert_eq!(ended.code, Some(0), "{}", ended.log);
}

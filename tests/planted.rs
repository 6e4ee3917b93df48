//! What a former server, another container or another user can leave in a volume, or do to it meanwhile, where `clone` runs as
//! root: nothing outside of the volume changes its owner, its mode, its name or its content, and nobody waits for a fifo.
//!
//! Needs root and the right to mount, as the tests of crashes do.

mod logged;

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use logged::Said;
use mysqlset::model::event::Event;
use tempfile::TempDir;

/// The server's user, who may write anywhere in the volume.
const USER: u32 = 999;

/// No run has much to do.
const DEADLINE: Duration = Duration::from_secs(30);

/// A volume with an empty data directory `mysql`, and another directory on the same file system.
struct Place {
    volume: TempDir,
    outside: TempDir,
}

/// Without a code where it was killed, for it did not end.
struct Ended {
    code: Option<i32>,
    log: String,
}

/// Owner, group, mode and content of each name.
type Tree = BTreeMap<PathBuf, (u32, u32, u32, Vec<u8>)>;

fn tree(directory: &Path) -> Tree {
    let mut found = Tree::new();
    let mut rest = vec![directory.to_owned()];
    while let Some(path) = rest.pop() {
        let metadata = path.symlink_metadata().unwrap();
        let mut content = Vec::new();
        if metadata.is_dir() {
            rest.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if metadata.is_file() {
            content = std::fs::read(&path).unwrap();
        }
        found.insert(path, (metadata.uid(), metadata.gid(), metadata.mode(), content));
    }
    found
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn make_fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn give(directory: &Path) {
    for path in tree(directory).into_keys() {
        lchown(path, Some(USER), Some(USER)).unwrap();
    }
}

fn journal(state: &str) -> String {
    format!(r#"{{"version":1,"state":"{state}","since":1,"prepare_attempts":0}}"#)
}

/// Of a copy that was proven, and is to be published.
fn publishing() -> String {
    let record = r#""clone":{"donor":"x","donor_pod":"mysql-0","tool":"x","bytes":1,"seconds":1.0,"received_at":1,
        "inventory":{"donor":{"bytes":1,"digest":"00"}}}"#;
    journal("publishing").replace(r#""since":1"#, &format!(r#""since":1,"names":["ibdata1","mysql"],{record}"#))
}

impl Place {
    fn new() -> Place {
        let place = Place { volume: tempfile::tempdir().unwrap(), outside: tempfile::tempdir().unwrap() };
        std::fs::create_dir(place.data_dir()).unwrap();
        chown(place.data_dir(), Some(USER), Some(USER)).unwrap();
        for (name, text) in [
            (".mysqlset.json", &publishing()[..]),
            ("journal", &journal("published")),
            ("file", "theirs"),
            ("inventory", "theirs"),
            ("data/.mysqlset.json", &journal("published")),
            ("data/ibdata1", "theirs"),
            ("data/mysql/user", "theirs"),
            ("data/app/t", "theirs"),
        ] {
            write(&place.outside(name), text);
        }
        std::fs::create_dir(place.outside("empty")).unwrap();
        place
    }

    fn data_dir(&self) -> PathBuf {
        self.volume.path().join("mysql")
    }

    fn in_data_dir(&self, name: &str) -> PathBuf {
        self.data_dir().join(name)
    }

    fn stage(&self) -> PathBuf {
        self.volume.path().join(".mysqlset-mysql-stage")
    }

    fn staged(&self, name: &str) -> PathBuf {
        self.stage().join(name)
    }

    fn outside(&self, name: &str) -> PathBuf {
        self.outside.path().join(name)
    }

    /// A copy that an earlier start left, of root's.
    fn stage_copy(&self) {
        write(&self.staged(".mysqlset.json"), &publishing());
        write(&self.staged("data/ibdata1"), "ours");
        write(&self.staged("data/mysql/user"), "ours");
    }

    /// A database that somebody restored.
    fn with_database(&self) {
        for name in ["ibdata1", "mysql/user"] {
            write(&self.in_data_dir(name), "ours");
        }
    }

    fn clone(&self, arguments: &[&str]) -> Ended {
        let mut child = Command::new(env!("CARGO_BIN_EXE_mysqlset"))
            .args(["clone", "--hostname", "mysql-1", "--give-up-after", "0", "--donor", "127.0.0.1:1"])
            .arg("--data-dir")
            .arg(self.data_dir())
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if begun.elapsed() > DEADLINE {
                child.kill().unwrap();
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let output = child.wait_with_output().unwrap();
        Ended { code: output.status.code(), log: String::from_utf8_lossy(&output.stderr).into_owned() }
    }
}

/// What is planted, and what `clone` says.
struct Case {
    name: &'static str,
    plant: fn(&Place),
    arguments: &'static [&'static str],
    code: i32,
    says: &'static str,
}

const fn case(name: &'static str, plant: fn(&Place), code: i32, says: &'static str) -> Case {
    Case { name, plant, arguments: &["--rehearsal", "off"], code, says }
}

/// What a start finds, without one that runs at the same time.
const CASES: &[Case] = &[
    case("a link at the stage", |place| symlink(place.outside.path(), place.stage()).unwrap(), 20, "stage_impostor"),
    case("a fifo at the stage", |place| make_fifo(&place.stage()), 20, "stage_impostor"),
    case(
        "a link at the copy",
        |place| {
            write(&place.staged(".mysqlset.json"), &publishing());
            symlink(place.outside("data"), place.staged("data")).unwrap();
        },
        20,
        "stage_impostor",
    ),
    case(
        "a stage that the server's user has made, with a hard link",
        |place| {
            place.stage_copy();
            std::fs::remove_file(place.staged("data/ibdata1")).unwrap();
            give(&place.stage());
            std::fs::hard_link(place.outside("file"), place.staged("data/ibdata1")).unwrap();
        },
        20,
        "stage_of_another",
    ),
    case(
        "a hard link in a stage of root's",
        |place| {
            place.stage_copy();
            std::fs::hard_link(place.outside("file"), place.staged("data/mysql/file")).unwrap();
        },
        51,
        "data/mysql/file is a file that has another name too",
    ),
    case(
        "a link in the copy",
        |place| {
            place.stage_copy();
            symlink(place.outside("data/app"), place.staged("data/app")).unwrap();
        },
        51,
        "data/app is a symbolic link",
    ),
    case(
        "a fifo in the copy",
        |place| {
            place.stage_copy();
            make_fifo(&place.staged("data/mysql/fifo"));
        },
        51,
        "data/mysql/fifo is a fifo",
    ),
    case(
        "a device in the copy",
        |place| {
            place.stage_copy();
            let null = Command::new("mknod").arg(place.staged("data/null")).args(["c", "1", "3"]).status().unwrap();
            assert!(null.success());
        },
        51,
        "data/null is a device",
    ),
    case(
        "a fifo in the place of the donor's list",
        |place| {
            place.stage_copy();
            write(&place.staged(".mysqlset.json"), &publishing().replace("publishing", "prepared"));
            make_fifo(&place.staged("inventory"));
        },
        20,
        "stage_impostor",
    ),
    case(
        "a link at the journal",
        |place| {
            place.with_database();
            symlink(place.outside("journal"), place.in_data_dir(".mysqlset.json")).unwrap();
        },
        32,
        "is a symbolic link",
    ),
    case(
        "a link where the journal is written",
        |place| {
            place.with_database();
            write(&place.in_data_dir(".mysqlset.json"), &journal("published"));
            symlink(place.outside("file"), place.in_data_dir(".mysqlset.json.new")).unwrap();
        },
        0,
        "data.complete",
    ),
    case(
        "a hard link where the journal is written",
        |place| {
            place.with_database();
            write(&place.in_data_dir(".mysqlset.json"), &journal("published"));
            std::fs::hard_link(place.outside("file"), place.in_data_dir(".mysqlset.json.new")).unwrap();
        },
        0,
        "data.complete",
    ),
    case(
        "a directory where the journal is written",
        |place| {
            place.with_database();
            write(&place.in_data_dir(".mysqlset.json"), &journal("published"));
            std::fs::create_dir(place.in_data_dir(".mysqlset.json.new")).unwrap();
        },
        51,
        ".mysqlset.json.new is a directory",
    ),
    case(
        "a link of the server's user at the data directory",
        |place| {
            std::fs::remove_dir(place.data_dir()).unwrap();
            symlink(place.outside("empty"), place.data_dir()).unwrap();
            lchown(place.data_dir(), Some(USER), Some(USER)).unwrap();
        },
        51,
        "is a symbolic link that user 999 has made",
    ),
    case(
        "a fifo at the log of a database that mysqlset did not make",
        |place| {
            place.with_database();
            make_fifo(&place.in_data_dir("ib_logfile0"));
        },
        51,
        "ib_logfile0 is a fifo",
    ),
    Case {
        name: "a fifo at the index of another pod's logs",
        plant: |place| {
            place.with_database();
            write(&place.in_data_dir(".mysqlset.json"), &journal("published"));
            make_fifo(&place.in_data_dir("shop-1-bin.index"));
            write(&place.volume.path().join("conf/x.cnf"), "[mysqld]\nlog_bin=mysql-1-bin\n");
        },
        arguments: &["--server-config", "VOLUME/conf"],
        code: 51,
        says: "shop-1-bin.index is a fifo",
    },
    Case {
        name: "a link at a place that the server's configuration names",
        plant: |place| {
            place.stage_copy();
            symlink(place.outside("empty"), place.staged("data/undo")).unwrap();
            write(&place.volume.path().join("conf/x.cnf"), "[mysqld]\ninnodb_undo_directory=undo\n");
        },
        arguments: &["--server-config", "VOLUME/conf"],
        code: 21,
        says: "innodb_undo_directory",
    },
    Case {
        name: "a link where the rehearsal tries the volume",
        plant: |place| symlink(place.outside("empty"), place.volume.path().join(".mysqlset-check")).unwrap(),
        arguments: &[],
        code: 20,
        says: "exit.no_donor",
    },
];

fn said(place: &Place, arguments: &[&str]) -> Ended {
    let volume = place.volume.path().to_str().unwrap();
    let arguments: Vec<String> = arguments.iter().map(|word| word.replace("VOLUME", volume)).collect();
    place.clone(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn what_is_planted_changes_nothing_outside() {
    let mut wrong = Vec::new();
    for case in CASES {
        let place = Place::new();
        (case.plant)(&place);
        let before = tree(place.outside.path());
        // A second start finds what the first one left.
        for start in ["first", "second"] {
            let ended = said(&place, case.arguments);
            if tree(place.outside.path()) != before {
                wrong.push(format!("{}, {start} start: something outside has changed\n{}", case.name, ended.log));
            }
            let is_expected = ended.code == Some(case.code) && ended.log.contains(case.says);
            if start == "first" && !is_expected {
                wrong.push(format!("{}: {:?}, {}\n{}", case.name, ended.code, case.says, ended.log));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
}

/// A link of root's at the data directory is the user's own: it is followed once.
#[test]
fn a_link_of_roots_at_the_data_directory_is_followed() {
    let place = Place::new();
    let elsewhere = place.volume.path().join("elsewhere");
    std::fs::rename(place.data_dir(), &elsewhere).unwrap();
    symlink(&elsewhere, place.data_dir()).unwrap();
    write(&elsewhere.join(".mysqlset.json"), &publishing());
    write(&elsewhere.join("ibdata1"), "ours");
    write(&elsewhere.join(".mysqlset-stage/data/mysql/user"), "ours");
    let ended = place.clone(&[]);
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    for name in ["mysql", "mysql/user", ".mysqlset.json"] {
        assert_eq!(elsewhere.join(name).metadata().unwrap().uid(), USER, "{name}");
    }
    assert!(!elsewhere.join(".mysqlset-stage").exists());
}

/// Earlier versions gave the stage to the server's user. What is in the data directory in part is finished all the same, and
/// nothing else is given with it.
#[test]
fn a_publishing_that_an_earlier_version_began_is_finished_with_its_own_files_alone() {
    for (is_planted, code) in [(true, 51), (false, 0)] {
        let place = Place::new();
        write(&place.in_data_dir(".mysqlset.json"), &publishing());
        write(&place.in_data_dir("ibdata1"), "ours");
        write(&place.in_data_dir(".mysqlset-stage/data/mysql/user"), "ours");
        give(&place.data_dir());
        if is_planted {
            std::fs::hard_link(place.outside("file"), place.in_data_dir(".mysqlset-stage/data/mysql/file")).unwrap();
        }
        let before = tree(place.outside.path());
        let ended = place.clone(&[]);
        assert_eq!(ended.code, Some(code), "{}", ended.log);
        assert!(tree(place.outside.path()) == before, "{}", ended.log);
        assert_eq!(place.in_data_dir("mysql/user").exists(), !is_planted);
        assert_eq!(place.in_data_dir(".mysqlset-stage").exists(), is_planted);
    }
}

struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn what_is_mounted_in_the_stage_is_neither_given_nor_removed() {
    let place = Place::new();
    place.stage_copy();
    let inside = place.staged("data/app");
    std::fs::create_dir(&inside).unwrap();
    let mounted = Command::new("mount").arg("--bind").arg(place.outside("data")).arg(&inside).status().unwrap();
    assert!(mounted.success());
    let mounted = Mounted(inside);
    let before = tree(place.outside.path());
    let ended = place.clone(&[]);
    assert_eq!(ended.code, Some(51), "{}", ended.log);
    assert!(ended.log.has_with(Event::ExitDisk, "data/app is a mount point"), "{}", ended.log);
    // And where the stage is thrown away.
    std::fs::remove_file(place.staged(".mysqlset.json")).unwrap();
    let ended = place.clone(&[]);
    assert_eq!(ended.code, Some(51), "{}", ended.log);
    assert!(tree(place.outside.path()) == before, "{}", ended.log);
    drop(mounted);
    let ended = place.clone(&[]);
    assert_eq!(ended.code, Some(20), "{}", ended.log);
}

/// Ends the swapping, whatever becomes of the clone.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Another process of the volume exchanges the stage for a link again and again, as fast as it can.
#[test]
fn a_stage_that_is_swapped_for_a_link_leads_nowhere() {
    const ROUNDS: usize = 60;
    let deadline = Instant::now() + Duration::from_secs(60);
    let (mut rounds, mut swaps, mut published) = (0, 0, 0);
    while rounds < ROUNDS && Instant::now() < deadline {
        let place = Place::new();
        place.stage_copy();
        let before = tree(place.outside.path());
        let is_over = AtomicBool::new(false);
        let (stage, away) = (place.stage(), place.volume.path().join("away"));
        let ended = std::thread::scope(|scope| {
            let swapping = scope.spawn(|| {
                let mut swaps = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let is_away = std::fs::rename(&stage, &away).is_ok();
                    let is_swapped = symlink(place.outside.path(), &stage).is_ok();
                    std::thread::sleep(Duration::from_micros(rounds as u64 * 20 % 700));
                    if is_swapped {
                        let _ = std::fs::remove_file(&stage);
                    }
                    if is_away {
                        let _ = std::fs::rename(&away, &stage);
                    }
                    swaps += usize::from(is_swapped);
                    std::thread::sleep(Duration::from_micros(rounds as u64 * 30 % 900));
                }
                swaps
            });
            let over = Over(&is_over);
            let ended = place.clone(&["--rehearsal", "off"]);
            drop(over);
            swaps += swapping.join().unwrap();
            ended
        });
        assert!(tree(place.outside.path()) == before, "round {rounds}: {:?}\n{}", ended.code, ended.log);
        assert!(matches!(ended.code, Some(0 | 20 | 30 | 51)), "round {rounds}: {:?}\n{}", ended.code, ended.log);
        for (path, (_, _, _, content)) in tree(&place.data_dir()) {
            assert!(content != b"theirs", "{} was published\n{}", path.display(), ended.log);
        }
        rounds += 1;
        published += usize::from(ended.code == Some(0));
    }
    assert!(published > 0, "none of {rounds} came as far as publishing");
    assert!(rounds > 5 && swaps > rounds, "{swaps} swaps in {rounds} rounds");
}

//! A volume for planted files, and a `clone` that starts on it.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, chown, lchown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The server's user, with write access everywhere in the volume.
pub const USER: u32 = 999;

/// The time limit: every run has little to do.
const DEADLINE: Duration = Duration::from_secs(30);

/// A volume with an empty data directory `mysql`, and another directory on the same file system.
pub struct Place {
    pub volume: TempDir,
    pub outside: TempDir,
}

/// The result of a `clone`. If it was killed at the time limit, it has no code.
pub struct Ended {
    pub code: Option<i32>,
    pub log: String,
}

/// Owner, group, mode and content of each name.
pub type Tree = BTreeMap<PathBuf, (u32, u32, u32, Vec<u8>)>;

pub fn tree(directory: &Path) -> Tree {
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

pub fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

pub fn make_fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

pub fn give(directory: &Path) {
    for path in tree(directory).into_keys() {
        lchown(path, Some(USER), Some(USER)).unwrap();
    }
}

pub fn journal(state: &str) -> String {
    format!(r#"{{"version":1,"state":"{state}","since":1,"prepare_attempts":0}}"#)
}

/// The journal of a proven copy that is to be published.
pub fn publishing() -> String {
    let record = r#""clone":{"donor":"x","donor_pod":"mysql-0","tool":"x","bytes":1,"seconds":1.0,"received_at":1,
        "inventory":{"donor":{"bytes":1,"digest":"00"}}}"#;
    journal("publishing").replace(r#""since":1"#, &format!(r#""since":1,"names":["ibdata1","mysql"],{record}"#))
}

impl Place {
    pub fn new() -> Place {
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

    pub fn data_dir(&self) -> PathBuf {
        self.volume.path().join("mysql")
    }

    pub fn in_data_dir(&self, name: &str) -> PathBuf {
        self.data_dir().join(name)
    }

    pub fn stage(&self) -> PathBuf {
        self.volume.path().join(".mysqlset-mysql-stage")
    }

    pub fn staged(&self, name: &str) -> PathBuf {
        self.stage().join(name)
    }

    pub fn outside(&self, name: &str) -> PathBuf {
        self.outside.path().join(name)
    }

    /// A copy of an earlier start, owned by root.
    pub fn stage_copy(&self) {
        write(&self.staged(".mysqlset.json"), &publishing());
        write(&self.staged("data/ibdata1"), "ours");
        write(&self.staged("data/mysql/user"), "ours");
    }

    /// A restored database.
    pub fn with_database(&self) {
        for name in ["ibdata1", "mysql/user"] {
            write(&self.in_data_dir(name), "ours");
        }
    }

    pub fn clone(&self, arguments: &[&str]) -> Ended {
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

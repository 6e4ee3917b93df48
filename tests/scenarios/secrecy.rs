//! A set with passwords lives through all phases, and secrets are found only where they must be.
//!
//! Every secret contains the same mark. So the test finds it in any spelling, and finds parts of it.

use std::fs::File;
use std::io::BufRead as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::pods::servers::tested;
use harness::pods::{Cluster, PASSWORDS, PATIENCE};
use harness::set;
use harness::stand_ins::recipient::prove_with;

const MARK: &str = "~gEh";
const OLD: &str = "~gEhOld";
const NEW: &str = "~gEhNew";

/// A planted word, which the watch must find.
const PLANTED: &str = "~gEhPlanted";

/// Keys of the Secret, with characters that SQL and options files must escape. The entrypoint writes root's into SQL as
/// it is.
fn secret(key: &str, mark: &str) -> String {
    match key {
        "root" => format!("{mark}-root"),
        "clone" => format!("{mark}, a clone secret of length"),
        key => format!(r#"{mark}-{key}'"\#x"#),
    }
}

const KEYS: [&str; 5] = ["root", "clone", "backup", "replication", "monitoring"];

/// The number of occurrences of a word.
fn count(bytes: &[u8], word: &str) -> usize {
    let word = word.as_bytes();
    let begins = bytes.iter().enumerate().filter(|(_, byte)| **byte == word[0]);
    begins.filter(|(at, _)| bytes[*at..].starts_with(word)).count()
}

/// Secrets that were found in processes.
#[derive(Default)]
struct Watched {
    found: Mutex<Vec<String>>,
    /// The number of argument lists, and of environments of our program and its children, that were read.
    arguments: AtomicU64,
    environments: AtomicU64,
    stop: AtomicBool,
}

impl Watched {
    /// Reads all processes of this machine, in a loop.
    fn watch(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
            let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
            // Most processes end before the look.
            ids.for_each(|id| drop(self.look_at(id)));
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    fn look_at(&self, id: u32) -> std::io::Result<()> {
        let process = format!("/proc/{id}");
        let name_of = |id: &str| std::fs::read_to_string(format!("/proc/{id}/comm"));
        self.judge("the arguments", id, &std::fs::read(format!("{process}/cmdline"))?);
        self.arguments.fetch_add(1, Ordering::Relaxed);
        let status = std::fs::read_to_string(format!("{process}/status"))?;
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap_or_default();
        if name_of(parent).is_ok_and(|name| name.trim() == "mysqlset") || name_of(&id.to_string())?.trim() == "mysqlset"
        {
            self.judge("the environment", id, &std::fs::read(format!("{process}/environ"))?);
            self.environments.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn judge(&self, what: &str, id: u32, bytes: &[u8]) {
        if count(bytes, MARK) > 0 {
            let text = String::from_utf8_lossy(bytes).replace('\0', " ");
            self.found.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{what} of {id}: {text}"));
        }
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.found.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Files below a directory that contain the mark. Only regular files are read.
fn files_with_mark(directory: &Path, found: &mut Vec<String>, seen: &mut usize) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Ok(()) };
    for entry in entries.flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files_with_mark(&path, found, seen)?,
            // A file may disappear meanwhile.
            Ok(kind) if kind.is_file() => {
                let Ok(bytes) = std::fs::read(&path) else { continue };
                *seen += 1;
                if count(&bytes, MARK) > 0 {
                    found.push(path.display().to_string());
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The number of occurrences of a word in a process's memory.
fn in_memory(process: u32, word: &str) -> Result<usize> {
    let memory = File::open(format!("/proc/{process}/mem"))?;
    let maps = std::io::BufReader::new(File::open(format!("/proc/{process}/maps"))?);
    let mut found = 0;
    for line in maps.lines() {
        let line = line?;
        let (range, rest) = line.split_once(' ').context("a line of maps")?;
        if !rest.starts_with("rw") {
            continue;
        }
        let (begin, end) = range.split_once('-').context("a range of maps")?;
        let (begin, end) = (u64::from_str_radix(begin, 16)?, u64::from_str_radix(end, 16)?);
        let mut bytes = vec![0; usize::try_from(end - begin)?];
        // Memory that was returned meanwhile is empty.
        if memory.read_exact_at(&mut bytes, begin).is_ok() {
            found += count(&bytes, word);
        }
    }
    Ok(found)
}

fn start() -> Result<Cluster> {
    set::start_from(tested().overlay_with_passwords, &[], 2, |manifests| {
        let keys = KEYS.map(|key| (key.to_owned(), secret(key, OLD)));
        manifests.secrets.insert(PASSWORDS.to_owned(), keys.into());
        for container in ["init-config", "clone", "sidecar"] {
            manifests.set_env(container, "MYSQLSET_LOG", "trace");
        }
    })
}

fn root(cluster: &Cluster, mark: &str, pod: &str, statement: &str) -> Result<Vec<Vec<String>>> {
    cluster.sql_as(pod, "root", &secret("root", mark), statement)
}

/// First start, clone, restarts, a refusal, new passwords, and a clone with those.
fn live(cluster: &Cluster) -> Result<()> {
    cluster.wait_ready(2)?;
    root(cluster, OLD, "mysql-0", "CREATE DATABASE app; CREATE TABLE app.t (id INT); INSERT INTO app.t VALUES (1)")?;
    cluster.signal("mysql-0", "sidecar", rustix::process::Signal::KILL)?;
    cluster.delete_pod("mysql-1")?;
    cluster.wait_for("both to begin again", PATIENCE, || {
        Ok(cluster.status("mysql-0")?.containers["sidecar"].restarts == 1
            && !cluster.describe().contains("Terminating"))
    })?;
    cluster.wait_ready(2)?;
    ensure!(!prove_with(&cluster.connect("mysql-0", 3307)?, "a wrong one of many")?, "a wrong secret was accepted");
    ensure!(prove_with(&cluster.connect("mysql-0", 3307)?, &secret("clone", OLD))?, "the right one was refused");

    // The image's own first statements contain root's password. A general log has the statements of accounts without
    // SUPER.
    for pod in ["mysql-0", "mysql-1"] {
        root(cluster, OLD, pod, "SET GLOBAL long_query_time = 0; SET GLOBAL slow_query_log = 1")?;
    }
    // The sidecars' sessions still have the old threshold.
    for pod in ["mysql-0", "mysql-1"] {
        cluster.signal(pod, "sidecar", rustix::process::Signal::KILL)?;
    }
    cluster.wait_for("the sidecars' sessions to be new", PATIENCE, || {
        let restarts = |pod| Ok::<_, anyhow::Error>(cluster.status(pod)?.containers["sidecar"].restarts);
        Ok(restarts("mysql-0")? == 2 && restarts("mysql-1")? >= 1)
    })?;
    cluster.wait_ready(2)?;

    for key in KEYS {
        cluster.set_secret(PASSWORDS, key, &secret(key, NEW))?;
    }
    for (user, key) in [("root", "root"), ("replication", "replication"), ("monitoring", "monitoring")] {
        cluster.wait_for(&format!("the new password of {user}"), PATIENCE, || {
            Ok(cluster.sql_as("mysql-0", user, &secret(key, NEW), "SELECT 1").is_ok())
        })?;
    }
    // The replica is denied access, and then gets the new password.
    root(cluster, NEW, "mysql-1", "STOP REPLICA IO_THREAD; START REPLICA IO_THREAD")?;
    cluster.scale(3);
    cluster.wait_ready(3)?;
    root(cluster, NEW, "mysql-0", "INSERT INTO app.t VALUES (2)")?;
    for pod in ["mysql-1", "mysql-2"] {
        cluster.wait_for(&format!("the rows in {pod}"), PATIENCE, || {
            Ok(root(cluster, NEW, pod, "SELECT * FROM app.t")?.len() == 2)
        })?;
    }
    Ok(())
}

/// With a threshold of zero the slow log has all statements.
fn slow_log(cluster: &Cluster, pod: &str) -> Result<String> {
    let name = root(cluster, NEW, pod, "SELECT @@GLOBAL.slow_query_log_file")?;
    let name = name.first().and_then(|row| row.first()).context("no slow log")?.clone();
    let path = cluster.volume(pod).join("mysql").join(name.trim_start_matches("/var/lib/mysql/"));
    Ok(String::from_utf8_lossy(&std::fs::read(path)?).into_owned())
}

#[test]
fn secrets_are_found_only_where_they_must_be() -> Result<()> {
    let watched = Watched::default();
    std::thread::scope(|scope| {
        let _stopped = Stopped(&watched.stop);
        scope.spawn(|| watched.watch());
        lives_and_shows_nothing(&watched)
    })
}

/// Ends the watch after any outcome of the test.
struct Stopped<'a>(&'a AtomicBool);

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn lives_and_shows_nothing(watched: &Watched) -> Result<()> {
    let cluster = start()?;
    live(&cluster)?;
    let pods = ["mysql-0", "mysql-1", "mysql-2"];

    let found = watched.take();
    ensure!(found.is_empty(), "{found:#?}");
    let (arguments, environments) = (&watched.arguments, &watched.environments);
    ensure!(arguments.load(Ordering::Relaxed) > 1000 && environments.load(Ordering::Relaxed) > 100, "hardly looked");
    let mut planted = Command::new("sleep").arg0(PLANTED).arg("20").spawn()?;
    let noticed = cluster.wait_for("what was planted", PATIENCE, || Ok(!watched.take().is_empty()));
    planted.kill()?;
    planted.wait()?;
    noticed?;

    for pod in pods {
        for container in ["init-config", "clone", "mysql", "sidecar"] {
            let log = cluster.logs(pod, container);
            ensure!(count(log.as_bytes(), MARK) == 0, "the log of {pod}'s {container} has one:\n{log}");
        }
        let sidecar = cluster.logs(pod, "sidecar");
        ensure!(
            sidecar.contains("TRACE") || sidecar.contains("DEBUG"),
            "the log of {pod} is not the fullest: {sidecar}"
        );
        let pages = [
            cluster.status_page(pod)?,
            cluster.http_get(pod, 8307, "/metrics")?.1,
            format!("{:?}", cluster.status(pod)?),
        ];
        for page in pages {
            ensure!(!page.contains(MARK), "{pod} shows one: {page}");
        }
    }
    ensure!(!cluster.events().concat().contains(MARK), "{:?}", cluster.events());

    let slow_logs = ["mysql-0", "mysql-1"].map(|pod| slow_log(&cluster, pod));
    for log in slow_logs {
        ensure!(log?.contains("SELECT"), "a slow log holds no statements");
    }

    // The servers' own files: MariaDB keeps the password for its source in a file, MySQL in a table.
    let (mut with_mark, mut files) = (Vec::new(), 0);
    for pod in pods {
        files_with_mark(&cluster.volume(pod), &mut with_mark, &mut files)?;
        for container in ["mysql", "sidecar"] {
            let container_root = format!("/proc/{}/root", cluster.pid(pod, container)?);
            for directory in ["tmp", "var/tmp", "dev/shm", "run", "etc"] {
                files_with_mark(&Path::new(&container_root).join(directory), &mut with_mark, &mut files)?;
            }
        }
    }
    ensure!(files > 300, "only {files} files were looked at");
    let is_servers = |path: &String| path.ends_with("/master.info") || path.ends_with("/mysql.ibd");
    let (servers, others): (Vec<String>, Vec<String>) = with_mark.into_iter().partition(is_servers);
    ensure!(others.is_empty(), "{others:#?}");
    ensure!(
        !servers.is_empty() || !tested().is_mariadb(),
        "a replica's master.info has the password, and it was not found"
    );

    // The sidecar's memory has the secrets in use, and changed ones are wiped. A replica reads its files when it next
    // needs them. Until then it has each old secret at most once.
    for (pod, most) in [("mysql-0", 0), ("mysql-1", KEYS.len())] {
        let sidecar = cluster.pid(pod, "sidecar")?;
        ensure!(in_memory(sidecar, NEW)? > 0, "nothing is found in the memory of {pod}");
        cluster.wait_for(&format!("the old secrets to leave the memory of {pod}"), PATIENCE, || {
            Ok(in_memory(sidecar, OLD)? <= most)
        })?;
    }
    Ok(())
}

//! A kill during the rehearsal costs only the rehearsal; the backup is kept.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::logged::Said;
use harness::pods::PATIENCE;
use harness::pods::servers::tested;
use harness::rehearsal::{Running, Staged, digests, odd};
use mysqlset::model::event::Event;
use rustix::process::{Pid, Signal, kill_process};

/// Processes that work below a directory: their arguments name it by a descriptor.
fn users_of(path: &std::path::Path) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let process = std::path::PathBuf::from(format!("/proc/{pid}"));
        let descriptors = std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        let mut links = descriptors.map(|entry| entry.path()).chain([process.join("cwd")]);
        links.any(|link| std::fs::read_link(link).is_ok_and(|target| target.starts_with(path)))
    })
    .collect()
}

fn is_a_server(pid: u32) -> bool {
    let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&arguments).contains("--socket=")
}

#[test]
fn a_killed_clone_rehearses_again_and_publishes_without_another_backup() -> Result<()> {
    // The moments: the server's directory exists, it is starting, it answers.
    for there in ["shadow", "run/plugins", "run/pid", "run/sock"] {
        let staged = Staged::of(odd(), 1)?;
        let before = digests(&staged.data())?;
        let mut clone = staged.command()?.stderr(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let deadline = Instant::now() + PATIENCE;
        while !staged.stage().join(there).exists() {
            ensure!(clone.try_wait()?.is_none(), "clone ended before {there} was there");
            ensure!(Instant::now() < deadline, "no {there}");
            std::thread::sleep(Duration::from_micros(200));
        }
        clone.kill()?;
        let status = clone.wait()?;
        assert!(status.code().is_none(), "it had ended before: {status}");
        // The kernel kills the server together with the clone.
        while !users_of(&staged.stage()).is_empty() {
            ensure!(Instant::now() < deadline, "{:?} are left", users_of(&staged.stage()));
            std::thread::sleep(Duration::from_millis(5));
        }
        let journal = std::fs::read_to_string(staged.stage().join(".mysqlset.json"))?;
        assert!(journal.contains("\"prepared\"") && !staged.is_published(), "{there}: {journal}");

        // A dying process loses its arguments before it releases its lock.
        let ended = staged.clone(&[])?;
        assert_eq!(ended.code, Some(0), "{there}: {}", ended.log);
        assert!(ended.log.has(Event::RehearsalDone) && staged.is_published(), "{there}: {}", ended.log);
        let after = digests(&staged.published())?;
        let changed: Vec<_> = after.iter().filter(|(name, digest)| before.get(*name) != Some(digest)).collect();
        assert!(changed.is_empty(), "{there}: {changed:?}");
        assert!(!staged.stage().exists(), "{there}");
    }
    Ok(())
}

/// In a container without free memory the kernel kills the largest process. The copy is not at fault.
#[test]
fn a_killed_server_costs_the_rehearsal_and_not_the_backup() -> Result<()> {
    for there in ["run/pid", "run/sock"] {
        let staged = Staged::of(odd(), 0)?;
        let clone = staged.command()?.stderr(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let deadline = Instant::now() + PATIENCE;
        let server = loop {
            let server = users_of(&staged.stage()).into_iter().find(|pid| is_a_server(*pid));
            match server {
                Some(server) if staged.stage().join(there).exists() => break server,
                _ => ensure!(Instant::now() < deadline, "no server with {there}"),
            }
            std::thread::sleep(Duration::from_micros(200));
        };
        kill_process(Pid::from_raw(i32::try_from(server)?).context("a number")?, Signal::KILL)?;
        let output = clone.wait_with_output()?;
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(52), "{there}: ended with {}: {log}", output.status);
        ensure!(log.has_with(Event::ExitLimit, "the next start rehearses it again"), "{there}: {log}");
        let ended = staged.clone(&[])?;
        assert_eq!(ended.code, Some(0), "{there}: {}", ended.log);
        assert!(ended.log.has(Event::RehearsalDone) && staged.is_published(), "{there}: {}", ended.log);
    }
    Ok(())
}

/// The places in the first start's configuration, those in the next one's, and the log's place in the end.
const CHANGED: [(&str, &str, &str); 3] = [
    ("innodb_log_group_home_dir = redo\n", "", "ib_logfile0"),
    ("", "innodb_log_group_home_dir = redo\nlog_bin = binlogs/b\n", "redo/ib_logfile0"),
    (
        "innodb_log_group_home_dir = redo\n",
        "innodb_log_group_home_dir = other\ninnodb_undo_directory = redo\n",
        "other/ib_logfile0",
    ),
];

#[test]
fn another_configuration_after_a_kill_finds_all_files_at_its_places() -> Result<()> {
    if !tested().is_mariadb() {
        return Ok(());
    }
    for (first, second, log) in CHANGED {
        let staged = Staged::of(odd(), 1)?;
        let configure = |text: &str| staged.configure(&format!("[mysqld]\n{text}"));
        configure(first)?;
        let mut clone = staged.command()?.stderr(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let deadline = Instant::now() + PATIENCE;
        while !staged.stage().join("shadow").exists() {
            ensure!(clone.try_wait()?.is_none(), "clone ended before it rehearsed");
            ensure!(Instant::now() < deadline, "no rehearsal");
            std::thread::sleep(Duration::from_micros(200));
        }
        clone.kill()?;
        clone.wait()?;
        while !users_of(&staged.stage()).is_empty() {
            ensure!(Instant::now() < deadline, "{:?} are left", users_of(&staged.stage()));
            std::thread::sleep(Duration::from_millis(5));
        }
        let before = digests(&staged.data())?;

        // A mistake in the configuration leaves the copy as it is.
        configure("log_bin = /nowhere/at/all/b\n")?;
        let ended = staged.clone(&[])?;
        assert_eq!(ended.code, Some(21), "{}", ended.log);
        assert!(ended.log.has_with(Event::ExitRefused, "log_bin = /nowhere/at/all/b"), "{}", ended.log);
        assert_eq!(digests(&staged.data())?, before, "{first}, {second}");

        configure(second)?;
        let ended = staged.clone(&[])?;
        assert_eq!(ended.code, Some(0), "{first}, {second}: {}", ended.log);
        assert!(staged.published().join(log).is_file(), "{first}, {second}: {}", ended.log);
        let logs = digests(&staged.published())?;
        let logs: Vec<_> = logs.keys().filter(|name| name.ends_with("ib_logfile0")).collect();
        assert_eq!(logs.len(), 1, "{first}, {second}: {logs:?}");
        // A server would see a directory that only the first configuration named as a database.
        assert_eq!(staged.published().join("redo").exists(), second.contains("redo"), "{first}, {second}");
        let file = format!("--defaults-file={}", staged.config().join("pod.cnf").display());
        Running::start(&staged.published(), &[&file])?.stop()?;
    }
    Ok(())
}

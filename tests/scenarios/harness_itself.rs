//! The promises of the harness to its users.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::pods::servers::tested;
use harness::pods::{conditions, overdue};
use harness::set;

/// A process by its number and the moment of its start, which together are unique.
type Process = (u32, String);

#[test]
fn nothing_is_left_of_a_test_that_was_killed() -> Result<()> {
    // A second scenario, killed in the middle.
    let mut test = Command::new(std::env::current_exe()?)
        .args(["--exact", "first_start::three_pods_come_up_and_replicate"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let started = wait_for_servers(test.id());
    test.kill()?;
    test.wait()?;
    let started = started?;
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let left: Vec<&Process> = started.iter().filter(|process| is_alive(process)).collect();
        if left.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{left:?} are left of {} processes", started.len());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_test_that_does_not_end_is_named_and_ends_the_program() -> Result<()> {
    let output = Command::new(std::env::current_exe()?)
        .args(["--exact", "first_start::three_pods_come_up_and_replicate"])
        .env(overdue::LIMIT_VARIABLE, "1")
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1), "{:?}\n{said}", output.status);
    ensure!(said.contains("first_start::three_pods_come_up_and_replicate has not ended after "), "{said}");
    ensure!(said.contains("--- mysql-0 "), "nothing of the pods: {said}");
    Ok(())
}

/// All processes of a test, once two servers are among them.
fn wait_for_servers(test: u32) -> Result<BTreeSet<Process>> {
    let deadline = Instant::now() + harness::pods::PATIENCE;
    loop {
        let processes = descendants(test);
        let is_server = |process: &&Process| {
            std::fs::read_to_string(format!("/proc/{}/comm", process.0))
                .is_ok_and(|name| name.trim() == tested().process())
        };
        if processes.iter().filter(is_server).count() >= 2 {
            return Ok(processes);
        }
        ensure!(Instant::now() < deadline, "no two servers were started");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn descendants(ancestor: u32) -> BTreeSet<Process> {
    let mut found = BTreeSet::new();
    let mut parents = vec![ancestor];
    let all: Vec<(u32, u32, String)> = processes().collect();
    while let Some(parent) = parents.pop() {
        for (pid, _, start) in all.iter().filter(|(_, its_parent, _)| *its_parent == parent) {
            parents.push(*pid);
            found.insert((*pid, start.clone()));
        }
    }
    found
}

/// Each process with its parent and start time. (proc_pid_stat(5), fields 4 and 22)
fn processes() -> impl Iterator<Item = (u32, u32, String)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(|pid| {
        let (parent, start) = parent_and_start(pid).ok()?;
        Some((pid, parent, start))
    })
}

fn parent_and_start(pid: u32) -> Result<(u32, String)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(") ").next().context("no fields")?.split(' ').collect();
    ensure!(!matches!(fields[0], "Z" | "X"), "dead");
    Ok((fields[1].parse()?, fields.get(19).context("no start time")?.to_string()))
}

fn is_alive((pid, start): &Process) -> bool {
    parent_and_start(*pid).is_ok_and(|(_, its_start)| its_start == *start)
}

#[test]
fn conditions_are_called_by_their_names() -> Result<()> {
    for (at, condition) in conditions::ALL.iter().enumerate() {
        let others = || conditions::ALL[at + 1..].iter();
        ensure!(others().all(|other| other.name() != condition.name()), "{} exists twice", condition.name());
        if condition.why_not().is_none() {
            let [found] = conditions::named(condition.name())?[..] else { anyhow::bail!("{}", condition.name()) };
            assert_eq!(found.name(), condition.name());
        }
    }
    assert!(conditions::named("")?.is_empty());
    let error = |names: &str| conditions::named(names).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error("ipv6").contains("ipv6-only"), "{}", error("ipv6"));
    if conditions::named("ipv6-only").is_ok() {
        assert!(error("ipv6-only, dual-v4-first").contains("exclude each other"));
    }
    Ok(())
}

#[test]
fn a_condition_is_what_a_container_sees() -> Result<()> {
    let cluster = set::start_under("cgroup-v1,descriptors-1024", 1, |manifests| {
        manifests.container("sidecar").resources.limits.memory = Some("128Mi".to_owned());
    })?;
    cluster.wait_ready(1)?;
    let shown = |words: &str| -> Result<String> {
        let output = cluster.exec("mysql-0", "sidecar", &["sh", "-c", words])?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    assert_eq!(shown("cat /sys/fs/cgroup/memory/memory.limit_in_bytes")?, (128 << 20).to_string());
    assert_eq!(shown("ls /sys/fs/cgroup")?.split_whitespace().collect::<Vec<_>>(), ["cpu", "memory", "pids"]);
    assert_eq!(shown("ulimit -Sn")?, "1024");
    Ok(())
}

//! Events of a backup tool's copy: the check writes nothing, and the change may be killed at any moment.

use std::collections::BTreeSet;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::logged::Said;
use harness::pods::PATIENCE;
use harness::program;
use harness::rehearsal::{Ended, Running, Staged, digests, odd};
use mysqlset::model::event::Event;

const STATUSES: &str =
    "SELECT GROUP_CONCAT(EVENT_NAME, ' ', STATUS ORDER BY EVENT_NAME) FROM information_schema.EVENTS";

/// A prepared copy with three events: one that is on, one that replication has disabled, one that a user has disabled.
fn staged() -> Result<Staged> {
    let staged = Staged::of(odd(), 1)?;
    let server = Running::start(&staged.data(), &[])?;
    server.sql(
        "CREATE EVENT app.on_ ON SCHEDULE EVERY 1 YEAR DO SELECT 1;
        CREATE EVENT app.replica ON SCHEDULE EVERY 1 YEAR DISABLE ON SLAVE DO SELECT 1;
        CREATE EVENT app.user ON SCHEDULE EVERY 1 YEAR DISABLE DO SELECT 1;",
    )?;
    server.stop()?;
    staged.forget_earlier_life();
    Ok(staged)
}

/// The statuses of a published copy's events, with one word for those that replication has disabled.
fn statuses(staged: &Staged) -> Result<String> {
    let server = Running::start(&staged.published(), &[])?;
    let statuses = server.sql(STATUSES)?.trim().replace("SLAVESIDE_DISABLED", "REPLICA_SIDE_DISABLED");
    server.stop()?;
    Ok(statuses)
}

const OF_A_REPLICA: &str = "on_ REPLICA_SIDE_DISABLED,replica REPLICA_SIDE_DISABLED,user DISABLED";

#[test]
fn events_of_a_copy_are_changed_before_it_is_proven() -> Result<()> {
    let staged = staged()?;
    let ended = staged.clone(&[])?;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let place = |event: Event| ended.log.lines().position(|line| line.has(event));
    let (changed, proven) = (place(Event::EventsDisabled), place(Event::RehearsalDone));
    ensure!(changed.is_some() && changed < proven, "{}", ended.log);
    ensure!(ended.log.has_with(Event::EventsDisabled, "app.on_"), "{}", ended.log);
    let left = ["auto.cnf", "multi-master.info"].map(|name| staged.published().join(name).exists());
    assert_eq!(left, [false, false], "{}", ended.log);
    let journal = std::fs::read_to_string(staged.published().join(".mysqlset.json"))?;
    ensure!(!journal.contains("changing_events"), "{journal}");
    assert_eq!(statuses(&staged)?, OF_A_REPLICA);
    Ok(())
}

/// The length of an event table tells little of its contents.
#[test]
fn a_copy_whose_events_are_as_they_should_be_stays_as_it_is() -> Result<()> {
    let staged = staged()?;
    let server = Running::start(&staged.data(), &[])?;
    server.sql("ALTER EVENT app.on_ DISABLE ON SLAVE")?;
    server.stop()?;
    staged.forget_earlier_life();
    let before = digests(&staged.data())?;
    let ended = staged.clone(&[])?;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let after = digests(&staged.published())?;
    let changed: Vec<_> = before.iter().filter(|(name, digest)| after.get(*name) != Some(digest)).collect();
    assert!(changed.is_empty() && after.len() == before.len(), "{changed:?}");
    Ok(())
}

/// The moment of a kill, for a clone that changes events.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// After this many milliseconds from the journal's announcement.
    Announced(u64),
    /// After this many milliseconds from the appearance of the writing server's socket.
    Answering(u64),
    /// When that server has begun to stop, and all is changed.
    Stopping,
}

/// Kills the clone at that moment, and returns its log.
fn kill_at(moment: Moment, staged: &Staged, pod: &str) -> Result<String> {
    let mut log = tempfile::tempfile()?;
    let mut clone = staged.command_in(pod)?.stderr(log.try_clone()?).stdout(Stdio::null()).spawn()?;
    let deadline = Instant::now() + PATIENCE;
    let (mut announced, mut answered, mut wait) = (false, false, 0);
    loop {
        let has_socket = staged.stage().join("run/sock").exists();
        announced = announced || {
            let journal = std::fs::read_to_string(staged.stage().join(".mysqlset.json"));
            journal.is_ok_and(|journal| journal.contains("changing_events"))
        };
        // The checking server has stopped before.
        answered = answered || announced && has_socket;
        let is_there = match moment {
            Moment::Announced(after) => std::mem::replace(&mut wait, after) == after && announced,
            Moment::Answering(after) => std::mem::replace(&mut wait, after) == after && answered,
            Moment::Stopping => answered && !has_socket,
        };
        if is_there {
            break;
        }
        ensure!(clone.try_wait()?.is_none(), "clone ended before");
        ensure!(Instant::now() < deadline, "{moment:?} does not come");
        std::thread::sleep(Duration::from_micros(200));
    }
    std::thread::sleep(Duration::from_millis(wait));
    clone.kill()?;
    clone.wait()?;
    // Its server still has to end, and the next start waits for it.
    let mut text = String::new();
    log.seek(SeekFrom::Start(0))?;
    log.read_to_string(&mut text)?;
    Ok(text)
}

fn run_in(pod: &str, staged: &Staged) -> Result<Ended> {
    let output = staged.command_in(pod)?.output()?;
    Ok(Ended { code: output.status.code(), log: String::from_utf8_lossy(&output.stderr).into_owned() })
}

/// InnoDB cannot recover a read-only directory.
#[test]
fn a_clone_that_was_killed_while_it_changed_events_goes_on() -> Result<()> {
    use Moment::{Announced, Answering, Stopping};
    for moment in [Announced(0), Announced(150), Answering(0), Answering(15), Answering(40), Answering(80), Stopping] {
        let staged = staged()?;
        kill_at(moment, &staged, "mysql-1")?;
        if staged.is_published() {
            continue;
        }
        let ended = run_in("mysql-1", &staged)?;
        assert_eq!(ended.code, Some(0), "{moment:?}: {}", ended.log);
        assert!(ended.log.has(Event::RehearsalDone) && staged.is_published(), "{moment:?}: {}", ended.log);
        assert_eq!(statuses(&staged)?, OF_A_REPLICA, "{moment:?}");
    }
    Ok(())
}

/// A server that finds them enabled cannot know that a killed clone did it.
#[test]
fn events_that_a_killed_recovery_enabled_are_still_named() -> Result<()> {
    for moment in [Moment::Answering(0), Moment::Stopping] {
        let staged = staged()?;
        let killed = kill_at(moment, &staged, "mysql-0")?;
        let ended = run_in("mysql-0", &staged)?;
        assert_eq!(ended.code, Some(0), "{moment:?}: {}", ended.log);
        for log in [&killed, &ended.log] {
            let is_told = log.has_with(Event::EventsEnabled, "app.replica");
            assert_eq!(is_told, std::ptr::eq(log, &ended.log), "{moment:?}: {log}");
        }
        assert_eq!(statuses(&staged)?, "on_ ENABLED,replica ENABLED,user DISABLED", "{moment:?}");
        let journal = std::fs::read_to_string(staged.published().join(".mysqlset.json"))?;
        ensure!(!journal.contains("changing_events"), "{journal}");
    }
    Ok(())
}

/// With this setting InnoDB leaves its log to the next start.
#[test]
fn a_server_that_is_set_to_stop_in_haste_leaves_a_copy_that_can_be_proven() -> Result<()> {
    let staged = staged()?;
    staged.configure("[mysqld]\ninnodb_fast_shutdown = 2\n")?;
    let ended = staged.clone(&[])?;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(statuses(&staged)?, OF_A_REPLICA);
    Ok(())
}

/// MySQL 5.6 lacks the options that keep a private server to itself.
#[test]
fn a_server_that_cannot_be_isolated_changes_no_events() -> Result<()> {
    let staged = Staged::of(odd(), 1)?;
    std::fs::write(staged.data().join("mysql/event.MYD"), [1; 120])?;
    let programs = tempfile::tempdir()?;
    for (name, says) in [
        ("mysqld", "mysqld  Ver 5.6.51 for Linux on x86_64 (MySQL Community Server (GPL))"),
        ("xtrabackup", "xtrabackup version 2.4.29 based on MySQL server 5.7.44 Linux (x86_64) (revision id: 2e6c0951)"),
    ] {
        let program = programs.path().join(name);
        std::fs::write(&program, format!("#!/bin/sh\necho '{says}'\n"))?;
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755))?;
    }
    let output = Command::new(program())
        .args(staged.command()?.get_args().skip_while(|argument| *argument != "clone"))
        .env("PATH", programs.path())
        .output()?;
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{log}");
    ensure!(log.has(Event::EventsUnchanged), "{log}");
    Ok(())
}

/// A clone with an umask, as a user that file modes restrict.
fn with_umask(staged: &Staged, umask: &str) -> Result<Command> {
    let command = staged.command()?;
    let arguments: Vec<_> = command.get_args().collect();
    let position = arguments.iter().position(|argument| *argument == "clone");
    let (before, after) = arguments.split_at(position.context("the subcommand")?);
    let script = format!("umask {umask}; exec chroot --userspec=999:999 --groups= / \"$@\"");
    let shell = ["-c", &script, "sh", program()];
    let mut limited = Command::new("sh");
    // Root prepares the mounts that are needed.
    if let Some((_, mounting)) = before.split_last() {
        limited = Command::new(command.get_program());
        limited.args(mounting).arg("sh");
    }
    limited.args(shell).args(after);
    Ok(limited)
}

#[test]
fn no_umask_keeps_a_clone_from_its_own_files() -> Result<()> {
    for umask in ["0177", "0777", "0000"] {
        let staged = staged()?;
        staged.give_to("999")?;
        let mut limited = with_umask(&staged, umask)?;
        let mut log = tempfile::tempfile()?;
        let mut clone = limited.stdout(Stdio::null()).stderr(log.try_clone()?).spawn()?;
        let mut modes = BTreeSet::new();
        let status = loop {
            for name in ["run", "run/tmp", "run/plugins"] {
                if let Ok(found) = staged.stage().join(name).metadata() {
                    modes.insert(format!("{:o}", found.permissions().mode() & 0o777));
                }
            }
            if let Some(status) = clone.try_wait()? {
                break status;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let mut text = String::new();
        log.seek(SeekFrom::Start(0))?;
        log.read_to_string(&mut text)?;
        ensure!(status.success() && text.has(Event::RehearsalDone), "{umask}: {text}");
        assert_eq!(Vec::from_iter(modes), ["700"], "{umask}");
    }
    Ok(())
}

/// Servers ignore a file that is writable for all. A configuration that the pod's server refuses would then pass.
#[test]
fn no_umask_hides_the_pods_configuration() -> Result<()> {
    let staged = Staged::of(odd(), 1)?;
    staged.configure("[mysqld]\nnobody_knows = 1\n")?;
    staged.give_to("999")?;
    let output = with_umask(&staged, "0000")?.output()?;
    let log = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(44) && log.has_with(Event::ExitRehearsal, "nobody_knows"),
        "{:?} {log}",
        output.status
    );
    Ok(())
}

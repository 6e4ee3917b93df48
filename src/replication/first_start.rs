//! Recognises an interrupted first start whose server stays down. A connection attempt alone cannot tell it from a slow
//! first start: in both cases the port is closed.
//!
//! A first start that goes on has files of the data directory open and locked nearly all the time. First the program
//! that makes the database holds them, then the temporary server of the image's entrypoint. InnoDB locks its
//! tablespaces wherever they are configured to be (`os_file_lock` in both families' `os0file.cc`). Aria locks
//! `aria_log_control`, and MySQL from 8.0 on locks `mysql.ibd`.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::process::{Flock, FlockType, fcntl_getlk};

use crate::datadir::contents::Contents;
use crate::datadir::first_start;
use crate::datadir::journal::{Journal, State};
use crate::model::event::{Cause, Event};
use crate::model::ordinal::Role;
use crate::server::TurnedAway;
use crate::settings::Sidecar;
use crate::sys::termination_log;

/// Longer than an entrypoint takes between two servers.
const IDLE: Duration = Duration::from_secs(30);

/// Watches a first start while the server is unreachable.
#[derive(Debug, Default)]
pub struct FirstStart {
    /// Since when every server file has been closed.
    idle_since: Option<Instant>,
    /// Whether the termination message is ours.
    has_left_message: bool,
}

impl FirstStart {
    /// The reason for a server's silence: this interrupted first start, or `error` itself.
    pub fn of_a_silent_server(&mut self, error: anyhow::Error, settings: &Sidecar) -> anyhow::Error {
        if error.is::<TurnedAway>() || !settings.first_start_mark || settings.member.role() != Role::Primary {
            return error;
        }
        let is_idle = is_half_made(&settings.data_dir) == Some(true) && !is_open(&settings.data_dir);
        if !self.has_been_idle(is_idle, Instant::now()) {
            return error;
        }
        Event::FirstStartInterrupted.error(format!(
            "{} holds part of a new database, and no server has opened it for {} seconds: the first start was \
             interrupted or failed. Read the log of the server's container, then delete the pod: its clone refuses the \
             remains (exit code 31), or renames them and starts over with --on-half-made set-aside. (Connecting: \
             {error:#})",
            settings.data_dir.display(),
            IDLE.as_secs()
        ))
    }

    fn has_been_idle(&mut self, is_idle: bool, now: Instant) -> bool {
        if !is_idle {
            self.idle_since = None;
            return false;
        }
        now.duration_since(*self.idle_since.get_or_insert(now)) >= IDLE
    }

    /// Writes the message that `kubectl describe pod` shows once the container has ended.
    pub fn leave_message(&mut self, cause: &Cause, settings: &Sidecar) {
        if cause.event == Event::FirstStartInterrupted {
            termination_log::leave(&settings.termination_log, &format!("{}: {cause}", cause.event));
            self.has_left_message = true;
        }
    }

    /// Clears the message: the database is whole.
    pub fn is_over(&mut self, settings: &Sidecar) {
        if std::mem::take(&mut self.has_left_message) {
            termination_log::leave(&settings.termination_log, "");
        }
    }
}

/// Whether a first start has begun to write and is still unfinished. `None` where reading fails.
fn is_half_made(data_dir: &Path) -> Option<bool> {
    let look = || -> Result<bool> {
        let is_begun = Journal::read(data_dir)?.is_some_and(|journal| journal.state == State::Initialising);
        Ok(is_begun && !first_start::is_done(data_dir) && !Contents::of(data_dir)?.is_empty())
    };
    look().ok()
}

/// Whether a server has a file of the data directory locked. An unreadable directory counts as locked.
fn is_open(data_dir: &Path) -> bool {
    let look = || -> std::io::Result<bool> {
        let (mut is_seen, mut is_hidden) = (false, false);
        for entry in std::fs::read_dir(data_dir)? {
            let entry = entry?;
            // Servers leave our own files unlocked, so those say nothing.
            let is_own = entry.file_name().to_string_lossy().starts_with(".mysqlset");
            if is_own || !entry.file_type()?.is_file() {
                continue;
            }
            match File::open(entry.path()) {
                Ok(file) if fcntl_getlk(&file, &Flock::from(FlockType::WriteLock))?.is_some() => return Ok(true),
                Ok(_) => is_seen = true,
                // The file was removed meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                // A key that only the server may read.
                Err(_) => is_hidden = true,
            }
        }
        Ok(is_hidden && !is_seen)
    };
    look().unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_start_counts_as_interrupted_after_a_long_idle_time() {
        let mut watch = FirstStart::default();
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert!(!watch.has_been_idle(true, at(0)));
        assert!(!watch.has_been_idle(true, at(29)));
        assert!(!watch.has_been_idle(false, at(30)), "the next server of a first start");
        assert!(!watch.has_been_idle(true, at(31)));
        assert!(watch.has_been_idle(true, at(61)));
    }

    #[test]
    fn a_first_start_without_its_mark_is_half_made_once_files_exist() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(is_half_made(directory.path()), Some(false));
        Journal::new(State::Initialising).write(directory.path()).unwrap();
        assert_eq!(is_half_made(directory.path()), Some(false));
        std::fs::write(directory.path().join("ibdata1"), "").unwrap();
        assert_eq!(is_half_made(directory.path()), Some(true));
        assert!(!is_open(directory.path()));
        std::fs::write(directory.path().join(".mysqlset-first-start-done"), "").unwrap();
        assert_eq!(is_half_made(directory.path()), Some(false));
    }

    const LOCKS: &str = "FIRST_START_LOCKS";

    /// Acts as another process for the test below, since a process cannot see its own locks.
    #[test]
    fn holds_a_lock_for_another_process() {
        let Some(path) = std::env::var_os(LOCKS) else { return };
        let file = File::options().write(true).open(path).unwrap();
        rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
        println!("locked");
        std::io::stdin().read_line(&mut String::new()).unwrap();
    }

    #[test]
    fn a_server_whose_tablespaces_have_other_names_is_seen() {
        use std::io::{BufRead, BufReader};
        use std::process::{Command, Stdio};
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("system-1");
        std::fs::write(&path, "").unwrap();
        std::fs::create_dir(directory.path().join("mysql")).unwrap();
        assert!(!is_open(directory.path()));
        let mut server = Command::new(std::env::current_exe().unwrap())
            .args(["holds_a_lock_for_another_process", "--nocapture"])
            .env(LOCKS, &path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Kept, because the other process still has to print its result.
        let mut said = BufReader::new(server.stdout.take().unwrap()).lines();
        assert!(said.any(|line| line.unwrap().contains("locked")));
        assert!(is_open(directory.path()));
        drop(server.stdin.take());
        assert!(server.wait().unwrap().success());
        assert!(!is_open(directory.path()));
    }
}

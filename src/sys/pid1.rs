//! What a container's first process owes the others: orphans are handed to it, and stay as zombies until it reaps.

use rustix::process::{Pid, WaitOptions, waitpid};
use tokio::signal::unix::{SignalKind, signal};
use tracing::debug;

use crate::model::event::warn;
use crate::sys::child;

/// Reaps orphans for ever, where this process is its container's first. Children that somebody waits for are left
/// to him.
pub async fn reap_orphans() {
    if std::process::id() != 1 {
        return std::future::pending().await;
    }
    let mut child_ended = match signal(SignalKind::child()) {
        Ok(stream) => stream,
        Err(error) => {
            warn!(OrphansNotReaped, %error, "orphans will not be reaped");
            return std::future::pending().await;
        }
    };
    while child_ended.recv().await.is_some() {
        zombies().into_iter().filter(|pid| !child::is_owned(*pid)).for_each(reap);
    }
}

fn reap(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw)
        && waitpid(Some(pid), WaitOptions::NOHANG).is_ok()
    {
        debug!(?pid, "reaped an orphan");
    }
}

/// Dead children of this process that nobody has waited for yet.
fn zombies() -> Vec<u32> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| is_zombie_of(*pid, std::process::id())).collect()
}

/// `pid (command) state parent …`; the command may hold anything. (proc_pid_stat(5))
fn is_zombie_of(pid: u32, parent: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let mut fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    fields.next() == Some("Z") && fields.next() == Some(&parent.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_and_reaps_a_zombie() {
        #[expect(clippy::zombie_processes, reason = "the zombie is what is tested")]
        let child = std::process::Command::new("true").spawn().unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !zombies().contains(&child.id()) {
            assert!(std::time::Instant::now() < deadline);
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        reap(child.id());
        assert!(!zombies().contains(&child.id()));
    }
}

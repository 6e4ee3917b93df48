//! A child that takes its container's memory goes alone, before the kernel takes the container.
//!
//! At a container's limit the kernel kills all that is in it together (`memory.oom.group`, which kubelet sets since
//! Kubernetes 1.28). A limit that the child itself would meet (`RLIMIT_DATA`) counts what is mapped, not what is used, and
//! the tools map a lot: with 64 processors mariadb-backup 10.11 prepares in 64 MiB with 545 MiB more than that, of which
//! it uses 15, and with 64 threads it copies with 2.3 GiB, of which it uses 93 MiB. Where it met such a limit it waited
//! for ever for a thread that could not be made. So what is used is looked at, the more often the less is left.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// What is left free: a part of the limit for the kernel's own use and for what it counts late, and never less than this.
const LEAST_RESERVE: u64 = 16 << 20;
const PART_IN_RESERVE: u64 = 16;

/// No process takes memory faster, in bytes a second: it has to be zeroed.
const FASTEST: u64 = 4 << 30;

const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Enough for the lines of `/proc/PID/status` that come before those about memory, and for these.
const STATUS_LENGTH: usize = 8192;

/// How much a child and we may use together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceiling {
    limit: u64,
}

impl Ceiling {
    /// For a container whose limit is this.
    pub fn below(limit: u64) -> Ceiling {
        Ceiling { limit }
    }

    /// What is below it: the limit but for a reserve.
    pub fn bytes(self) -> u64 {
        self.limit.saturating_sub((self.limit / PART_IN_RESERVE).max(LEAST_RESERVE))
    }

    /// The container's own limit.
    pub fn limit(self) -> u64 {
        self.limit
    }

    /// What a child did that was killed for it.
    pub fn in_words(self) -> String {
        let mebibytes = |bytes: u64| bytes >> 20;
        format!(
            "was killed at {} MiB of memory, before all of the container would have been at its limit of {} MiB",
            mebibytes(self.bytes()),
            mebibytes(self.limit)
        )
    }
}

/// A thread that ends with the child.
pub struct Watch {
    ceiling: Ceiling,
    thread: JoinHandle<bool>,
}

impl Watch {
    /// Begins to watch a child that nobody has reaped yet.
    pub fn begin(child: u32, ceiling: Ceiling) -> io::Result<Watch> {
        let pid = i32::try_from(child).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        // Both stand for this child, whoever gets its number later.
        let process = pidfd_open(pid, PidfdFlags::empty())?;
        let statuses = [File::open(format!("/proc/{child}/status"))?, File::open("/proc/self/status")?];
        let watch = move || keep_below(ceiling.bytes(), &process, &statuses);
        let thread = Builder::new().name("memory".into()).spawn(watch)?;
        Ok(Watch { ceiling, thread })
    }

    /// Once the child has ended: the ceiling, where it was killed for it.
    pub fn finish(self) -> Option<Ceiling> {
        self.thread.join().unwrap_or(false).then_some(self.ceiling)
    }
}

/// Until the process ends; whether it was killed.
fn keep_below(ceiling: u64, process: &OwnedFd, statuses: &[File]) -> bool {
    // A process that has ended uses none.
    while let Some(used) = statuses.iter().map(used).sum::<Option<u64>>() {
        if used >= ceiling {
            return pidfd_send_signal(process, Signal::KILL).is_ok();
        }
        let Ok(pause) = Timespec::try_from(pause(ceiling - used)) else { return false };
        // Readable means that it has ended.
        match poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&pause)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) | Err(_) => return false,
        }
    }
    false
}

/// Not long enough to use all that is left.
fn pause(left: u64) -> Duration {
    Duration::from_micros(left.saturating_mul(1_000_000) / FASTEST).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
}

/// Memory of its own that the kernel can't take back from a process.
fn used(status: &File) -> Option<u64> {
    let mut text = [0; STATUS_LENGTH];
    let length = status.read_at(&mut text, 0).ok()?;
    anonymous(&String::from_utf8_lossy(&text[..length]))
}

fn anonymous(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::sys::child::{Ended, Running};

    const MIB: u64 = 1 << 20;

    fn run_below(limit: u64, command: &mut Command) -> Ended {
        Running::start(command, "child", Stdio::null()).unwrap().below(Some(Ceiling::below(limit))).wait().unwrap()
    }

    #[test]
    fn a_part_of_the_limit_is_left_free() {
        let ceiling = |mebibytes: u64| Ceiling::below(mebibytes * MIB).bytes() / MIB;
        assert_eq!([2048, 1024, 512, 256, 128, 10].map(ceiling), [1920, 960, 480, 240, 112, 0]);
    }

    /// By default it prepares with half of the limit, of which the least is 64 MiB, and uses 17 MiB more (mariadb-backup
    /// 10.11, with 350 MiB of log); we use 30.
    #[test]
    fn what_prepare_needs_is_below() {
        for limit in [128, 256, 512, 2048, 16384].map(|limit| limit * MIB) {
            let needed = (limit / 2).clamp(64 * MIB, 8192 * MIB) + (17 + 30) * MIB;
            assert!(needed < Ceiling::below(limit).bytes(), "{limit}");
        }
    }

    #[test]
    fn the_less_is_left_the_sooner_is_the_next_look() {
        assert_eq!(pause(0), SHORTEST_PAUSE);
        assert_eq!(pause(64 * MIB), Duration::from_micros(15_625));
        assert_eq!(pause(u64::MAX), LONGEST_PAUSE);
    }

    #[test]
    fn reads_what_the_kernel_says_of_a_process() {
        assert_eq!(anonymous("Name:\tx\nRssAnon:\t     2048 kB\nRssFile:\t 1 kB\n"), Some(2 * MIB));
        assert_eq!(anonymous("Name:\tx\nState:\tZ (zombie)\n"), None);
        assert!(used(&File::open("/proc/self/status").unwrap()).unwrap() > 0);
    }

    #[test]
    fn a_child_that_outgrows_its_ceiling_is_killed_alone() {
        // One buffer of a gibibyte; nobody would kill it for that.
        let mut command = Command::new("dd");
        let ended = run_below(256 * MIB, command.args(["if=/dev/zero", "of=/dev/null", "bs=1G", "count=20"]));
        assert!(ended.in_words().starts_with("was killed at 240 MiB of memory"), "{}", ended.in_words());
        assert!(!ended.was_killed());
    }

    #[test]
    fn a_child_below_its_ceiling_ends_as_it_does() {
        let shell = |limit, script: &str| run_below(limit, Command::new("sh").args(["-c", script]));
        for limit in [1024 * MIB, u64::MAX] {
            assert_eq!(shell(limit, "sleep 0.3; exit 3").in_words(), "ended with 3");
        }
        let killed = shell(1024 * MIB, "kill -KILL $$");
        assert_eq!((killed.in_words().as_str(), killed.was_killed()), ("was killed by signal 9", true));
    }
}

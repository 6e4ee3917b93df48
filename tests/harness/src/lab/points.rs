//! The points where a clone can be killed: a system call, identified by its kind and number.
//!
//! strace kills on the way into a call: all earlier calls of that thread have happened, this one has not. It counts
//! each kind of call by thread. The receiving thread's calls have a fixed order. Other threads write large files
//! meanwhile. Their assignment and their progress vary between runs, so only their first call is certain. strace leaves
//! a child alone once it becomes another program.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::{Result, ensure};

use super::Lab;
use super::volume::Volume;
use crate::pods::servers::tested;

/// Calls that give, take and move names.
pub const NAMES: &[&str] = &[
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "unlink",
    "unlinkat",
    "rmdir",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
];

/// Calls that make earlier writes durable.
pub const SYNCS: &[&str] = &["fsync", "fdatasync", "sync", "syncfs", "sync_file_range", "msync"];

/// Calls that change a file's content or owner, and the wait for a tool that changes them.
pub const FILES: &[&str] = &[
    "open",
    "openat",
    "openat2",
    "creat",
    "write",
    "writev",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "truncate",
    "ftruncate",
    "fallocate",
    "sendfile",
    "splice",
    "copy_file_range",
    "io_submit",
    "io_uring_enter",
    "chmod",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "chown",
    "fchown",
    "lchown",
    "fchownat",
    "utimensat",
    "setxattr",
    "fsetxattr",
    "lsetxattr",
    "flock",
    "wait4",
    "waitid",
];

/// At least this many calls come from the files of a backup: a sample of them stands for all.
const OFTEN: usize = 40;

/// One call of a clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    call: String,
    number: usize,
    /// Whether this call is one of many, whose number varies a little.
    of_many: bool,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "killed at {} {}", self.call, self.number)
    }
}

impl Point {
    /// A certain point.
    pub fn at(call: &str, number: usize) -> Point {
        Point { call: call.to_owned(), number, of_many: false }
    }

    /// Whether a clone may end without this call.
    pub fn may_be_missed(&self) -> bool {
        self.of_many
    }

    /// strace's arguments, up to the program.
    pub fn arguments(&self) -> Vec<String> {
        let Point { call, number, .. } = self;
        let inject = format!("inject={call}:signal=SIGKILL:when={number}");
        [&following("/dev/null")[..], &["-e".into(), format!("trace={call}"), "-e".into(), inject]].concat()
    }
}

/// Has strace follow every thread of a program and no other program.
fn following(log: &str) -> Vec<String> {
    ["-f", "-b", "execve", "-o", log].map(str::to_owned).into()
}

/// Clones once, and lists all calls of some kinds.
pub fn list(lab: &Lab, volume: &Volume, kinds: &[&str]) -> Result<Vec<Point>> {
    let log = lab.path("trace");
    lab.clone_traced(volume, &listing(&log, kinds))?;
    Ok(count(&log)?.into_iter().flat_map(|(call, count)| spread(&call, count)).collect())
}

/// The first, the middle and the last call of each kind in a trace. Only the first is certain to be reached.
pub fn few_of_each(log: &Path) -> Result<Vec<Point>> {
    let mut few = Vec::new();
    for (call, count) in count(log)? {
        let mut numbers = vec![1, count.div_ceil(2), count];
        numbers.dedup();
        few.extend(numbers.into_iter().map(|number| Point { call: call.clone(), number, of_many: number > 1 }));
    }
    Ok(few)
}

/// strace's arguments to list some kinds of calls. strace skips kinds that this machine's kernel lacks.
pub fn listing(log: &Path, kinds: &[&str]) -> Vec<String> {
    let known: Vec<String> = kinds.iter().map(|kind| format!("?{kind}")).collect();
    [&following(&log.to_string_lossy())[..], &["-e".into(), format!("trace={}", known.join(","))]].concat()
}

/// The number of calls of each kind, by the busiest thread. Lines are "PID NAME(…". A slow call has a second line, "PID
/// <... NAME resumed>…".
fn count(log: &Path) -> Result<BTreeMap<String, usize>> {
    let text = std::fs::read_to_string(log)?;
    let mut by_thread: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for line in text.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        if let Some((call, _)) = rest.trim_start().split_once('(')
            && call.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        {
            *by_thread.entry((call, thread)).or_default() += 1;
        }
    }
    ensure!(!by_thread.is_empty(), "strace saw no call");
    let mut most = BTreeMap::new();
    for ((call, _), count) in by_thread {
        let known: &mut usize = most.entry(call.to_owned()).or_default();
        *known = count.max(*known);
    }
    Ok(most)
}

fn spread(call: &str, count: usize) -> Vec<Point> {
    let of_many = count > OFTEN;
    let mut numbers =
        if of_many { vec![1, 2, count / 4, count / 2, count / 4 * 3, count - 1, count] } else { (1..=count).collect() };
    if !tested().is_quick() && numbers.len() > 2 {
        numbers = vec![numbers[numbers.len() / 2], count];
    }
    // Pieces of a file that wait for the disk are written together: the disk's speed decides their number. The clone
    // polls a private server until it answers, and each poll wakes our runtime: the number of polls depends on the
    // server's start.
    let by_time = ["pwritev", "waitid", "write"].contains(&call);
    let varies = |number: usize| of_many || (by_time && number > 1);
    numbers.into_iter().map(|number| Point { call: call.to_owned(), number, of_many: varies(number) }).collect()
}

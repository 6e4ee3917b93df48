//! Where a clone can be killed: at which system call, by its name and number.
//!
//! strace kills on the way into a call: all calls of that thread before it have happened, this one has not. It counts
//! each kind of call by thread. What the receiving thread does comes in the order of its story. Others write large files
//! meanwhile: which of them has which file, and how far each is, differs from run to run, so their calls are certain only
//! as far as the first. Children are let go when they become another program.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::{Result, ensure};

use super::Lab;
use super::volume::Volume;
use crate::pods::servers::tested;

/// Calls that give names, take them and move them.
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

/// Calls that make lasting what others did.
pub const SYNCS: &[&str] = &["fsync", "fdatasync", "sync", "syncfs", "sync_file_range", "msync"];

/// Calls that change what a file holds or whose it is, and the wait for a tool that changes them.
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

/// A kind that is called so often is one per file of a backup, or more: some of these calls stand for all.
const OFTEN: usize = 40;

/// One call of a clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    call: String,
    number: usize,
    /// Whether this call is one of many, of which there may be some more or less each time.
    of_many: bool,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "killed at {} {}", self.call, self.number)
    }
}

impl Point {
    /// A certain one.
    pub fn at(call: &str, number: usize) -> Point {
        Point { call: call.to_owned(), number, of_many: false }
    }

    /// Whether a clone may end without having come here.
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

/// The first, the middle and the last call of each kind that a trace has. That the first is reached is certain.
pub fn few_of_each(log: &Path) -> Result<Vec<Point>> {
    let mut few = Vec::new();
    for (call, count) in count(log)? {
        let mut numbers = vec![1, count.div_ceil(2), count];
        numbers.dedup();
        few.extend(numbers.into_iter().map(|number| Point { call: call.clone(), number, of_many: number > 1 }));
    }
    Ok(few)
}

/// strace's arguments to list some kinds of calls; kinds that this machine's kernel doesn't have are none.
pub fn listing(log: &Path, kinds: &[&str]) -> Vec<String> {
    let known: Vec<String> = kinds.iter().map(|kind| format!("?{kind}")).collect();
    [&following(&log.to_string_lossy())[..], &["-e".into(), format!("trace={}", known.join(","))]].concat()
}

/// How often each kind was called, by the thread that did most. Lines are "PID NAME(…", and for one that took a while
/// a second one, "PID <... NAME resumed>…".
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
    // Pieces of a file that wait for the disk are written together: how many of them do is the disk's affair. A private
    // server is looked at until it answers, and wakes our runtime: how often depends on how long it takes to start.
    let by_time = ["pwritev", "waitid", "write"].contains(&call);
    let varies = |number: usize| of_many || (by_time && number > 1);
    numbers.into_iter().map(|number| Point { call: call.to_owned(), number, of_many: varies(number) }).collect()
}

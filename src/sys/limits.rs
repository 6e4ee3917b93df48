//! Decides which resource limits (rlimits) a child of ours gets, and refuses a clone that they cannot fit.
//!
//! A container starts with a soft limit of 1024 descriptors and a higher hard one, or with a billion of both. A
//! program's need differs from both. The backup tools keep every InnoDB file open: 1,504 files took 1,524
//! descriptors for a backup by four threads, 1,511 for its prepare (mariadb-backup 10.11). With fewer, prepare
//! leaves tables out. With a billion, MySQL 5.7 takes 16 GB for its table of descriptors. So each child gets a
//! number of its own.
//!
//! | limit | action |
//! |---|---|
//! | `RLIMIT_NOFILE` | set for each child to what it opens ([`Descriptors`]) |
//! | `pids.max`, `RLIMIT_NPROC`, `RLIMIT_AS`, `RLIMIT_DATA` | a clone that needs more is refused before its first byte ([`ensure_room`]) |
//! | `RLIMIT_FSIZE` | the same, by the donor's largest file ([`check_file_size`]) |
//! | `RLIMIT_FSIZE`, `AS`, `DATA`, `CPU`, `NPROC` | the soft limit is raised to the hard one ([`raise_soft_limits`]). The hard limit belongs to the administrator. It is logged at the start, and named when it stops us ([`explain`]) or a child ([`of_signal`], [`told_by`]) |
//! | `RLIMIT_STACK` | kept: the tools choose their threads' stacks themselves |
//! | `RLIMIT_MEMLOCK` | kept: io_uring needs it on old kernels, and the tools also work without io_uring |
//! | `RLIMIT_CORE`, `NICE`, `RTPRIO` and others | kept: they suffice for the tools |

mod reached;
mod room;

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::debug;

use crate::model::event::warn;

pub use reached::{explain, of_signal, told_by};
pub use room::{check_file_size, ensure_room};

/// Descriptors of a backup tool beside InnoDB's files: its log, streams, connections, and two for each thread.
const BESIDE_FILES: u64 = 160;

/// Room for tables created meanwhile, in addition to a fraction of the files ([`GROWTH`]).
const MARGIN: u64 = 1024;
const GROWTH: u64 = 8;

/// A private server closes tables to stay below its limit. (10.11 opened 6,000 tables one by one with a limit of
/// 1,024, and had 442 descriptors open.)
const SERVER_LEAST: u64 = 256;
const SERVER_WANTS: u64 = 4096;

/// A soft limit up to this costs every program little memory, so a sufficient one is kept.
const HARMLESS: u64 = 16_384;

/// The descriptors that one child may have open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors {
    soft: u64,
    /// The inherited hard limit. `None`: unlimited.
    hard: Option<u64>,
}

/// The hard limit is too low.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} {needed} file descriptors, but the container's hard limit (RLIMIT_NOFILE) is {hard}: raise it in the container \
     runtime's configuration (LimitNOFILE, ulimits)",
    files.map_or("a private server needs".to_owned(), |files| format!("{files} InnoDB files need"))
)]
pub struct TooFew {
    /// The number of InnoDB files in a backup. `None` for a private server.
    pub files: Option<u64>,
    pub needed: u64,
    pub hard: u64,
}

impl Descriptors {
    /// For a backup tool that opens this many InnoDB files at once.
    pub fn for_files(files: u64) -> Result<Descriptors, TooFew> {
        let needed = files.saturating_add(BESIDE_FILES);
        let wanted = needed.saturating_add(files / GROWTH).saturating_add(MARGIN);
        let own = getrlimit(Resource::Nofile);
        match decide(needed, wanted, unlimited(own.current), unlimited(own.maximum)) {
            Some(soft) => Ok(Descriptors { soft, hard: own.maximum }),
            None => Err(TooFew { files: Some(files), needed, hard: unlimited(own.maximum) }),
        }
    }

    /// For a backup unpacked to this directory.
    pub fn for_backup(directory: &Path) -> io::Result<Result<Descriptors, TooFew>> {
        Ok(Descriptors::for_files(files_below(directory)?))
    }

    /// For a server of our own.
    pub fn for_server() -> Result<Descriptors, TooFew> {
        let own = getrlimit(Resource::Nofile);
        match decide(SERVER_LEAST, SERVER_WANTS, unlimited(own.current), unlimited(own.maximum)) {
            Some(soft) => Ok(Descriptors { soft, hard: own.maximum }),
            None => Err(TooFew { files: None, needed: SERVER_LEAST, hard: unlimited(own.maximum) }),
        }
    }

    /// Applies the limit to a child at its start.
    #[allow(unsafe_code, reason = "the child itself has to set its limit, between fork and exec")]
    pub fn give_to(self, command: &mut Command) {
        let limit = Rlimit { current: Some(self.soft), maximum: self.hard };
        debug!(soft = self.soft, hard = self.hard, "the child's file descriptors");
        let set = move || setrlimit(Resource::Nofile, limit).map_err(io::Error::from);
        // SAFETY: it makes one system call, takes no memory and no lock (fork(2), signal-safety(7)).
        unsafe { command.pre_exec(set) };
    }
}

/// The soft limit for a child. `None` if the hard one is below the need.
fn decide(needed: u64, wanted: u64, soft: u64, hard: u64) -> Option<u64> {
    (hard >= needed).then(|| soft.clamp(wanted, wanted.max(HARMLESS)).min(hard))
}

fn unlimited(limit: Option<u64>) -> u64 {
    limit.unwrap_or(u64::MAX)
}

/// Whether the backup tools keep a file of this name open. That holds for each InnoDB tablespace, also before
/// prepare has renamed it (`t1.new`). [`BESIDE_FILES`] covers the few files of the system tablespace.
pub fn is_kept_open(name: &str) -> bool {
    let ends = [".ibd", ".ibu", ".new"];
    ends.iter().any(|end| name.ends_with(end)) || name.starts_with("undo") || name.contains(".ibd.")
}

fn files_below(directory: &Path) -> io::Result<u64> {
    let mut files = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files += files_below(&entry.path())?;
        } else if is_kept_open(&entry.file_name().to_string_lossy()) {
            files += 1;
        }
    }
    Ok(files)
}

/// Limits that a tool inherits and that can be raised at no cost.
const RAISED: [(Resource, &str); 5] = [
    (Resource::Fsize, "RLIMIT_FSIZE"),
    (Resource::As, "RLIMIT_AS"),
    (Resource::Data, "RLIMIT_DATA"),
    (Resource::Cpu, "RLIMIT_CPU"),
    (Resource::Nproc, "RLIMIT_NPROC"),
];

/// Raises soft limits of this process, and so of its children, to the hard ones. Logs finite hard limits, because
/// a later failure may be due to one of them.
pub fn raise_soft_limits() {
    for (resource, name) in RAISED {
        let limit = getrlimit(resource);
        if limit.current != limit.maximum {
            let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
            match setrlimit(resource, raised) {
                Ok(()) => debug!(soft = limit.current, hard = limit.maximum, "raised the soft limit {name}"),
                Err(error) => {
                    warn!(LimitNotRaised, soft = limit.current, "cannot raise the soft limit {name}: {error}")
                }
            }
        }
        // Kernels always set NPROC, depending on the machine's memory.
        match limit.maximum {
            Some(hard) if resource != Resource::Nproc => {
                warn!(LimitHard, hard, "the container has a hard limit {name}; clones that exceed it will fail");
            }
            _ => {}
        }
    }
}

/// The lower of the limits on a child's memory, in bytes, if there is one.
pub fn memory() -> Option<u64> {
    [Resource::As, Resource::Data].into_iter().filter_map(|resource| getrlimit(resource).maximum).min()
}

/// The largest file size in bytes, if it is limited.
pub fn file_size() -> Option<u64> {
    getrlimit(Resource::Fsize).maximum
}

#[cfg(test)]
mod tests {
    use super::*;

    const BILLION: u64 = 1_073_741_816;

    #[test]
    fn the_soft_limit_fits_the_need_and_is_never_the_hard_one_as_such() {
        for (needed, wanted, soft, hard, expected) in [
            // containerd 2: raised to the need.
            (1_660, 2_871, 1_024, 524_288, Some(2_871)),
            // Sufficient and harmless: kept.
            (1_660, 2_871, 10_000, 20_000, Some(10_000)),
            (1_660, 2_871, 16_384, 65_536, Some(16_384)),
            // Older runtimes: lowered.
            (1_660, 2_871, BILLION, BILLION, Some(16_384)),
            (1_660, 2_871, 1_024, BILLION, Some(2_871)),
            (1_660, 2_871, u64::MAX, u64::MAX, Some(16_384)),
            (100_000, 113_000, BILLION, BILLION, Some(113_000)),
            // Covers the need, with a part of the margin.
            (1_660, 2_871, 1_024, 2_000, Some(2_000)),
            (1_660, 2_871, 1_024, 1_660, Some(1_660)),
            (1_660, 2_871, 1_024, 1_659, None),
            (512, 4_096, 256, 256, None),
        ] {
            assert_eq!(decide(needed, wanted, soft, hard), expected, "{needed} {wanted} {soft} {hard}");
        }
    }

    #[test]
    fn a_child_starts_with_its_limit() {
        let given = Descriptors { soft: 321, hard: getrlimit(Resource::Nofile).maximum };
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -Sn"]);
        given.give_to(&mut command);
        assert_eq!(String::from_utf8(command.output().unwrap().stdout).unwrap(), "321\n");
    }

    #[test]
    fn both_numbers_are_named() {
        let error = Descriptors::for_files(u64::MAX / 2);
        // A machine without a limit cannot run into it.
        if let Some(hard) = getrlimit(Resource::Nofile).maximum {
            let text = error.unwrap_err().to_string();
            assert!(
                text.contains(&(u64::MAX / 2 + BESIDE_FILES).to_string()) && text.contains(&hard.to_string()),
                "{text}"
            );
        }
    }

    #[test]
    fn tablespaces_are_counted_wherever_they_lie() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("app")).unwrap();
        for name in
            ["ibdata1", "undo001", "undo_001", "u3.ibu", "gts1.ibd", "app/t.ibd", "app/n.new", "app/t.frm", "app/a.MAD"]
        {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        assert_eq!(files_below(directory.path()).unwrap(), 6);
    }
}

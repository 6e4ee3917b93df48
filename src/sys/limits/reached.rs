//! Names the limit that stopped one of our calls, or a child by its signal or output. Includes its value and how
//! to raise it.

use std::io;

use rustix::process::{Resource, getrlimit};

use super::{file_size, memory};
use crate::model::exit::Reached;

/// Adds the limit to the error of a call that it stopped: starting a child or a thread, opening a file, or a
/// write.
pub fn explain(error: io::Error) -> io::Error {
    let limit = match error.raw_os_error() {
        Some(libc::EAGAIN) => threads(),
        Some(libc::EMFILE) => format!(
            "too many open files in this process (RLIMIT_NOFILE {}): raise the container's limit",
            shown(getrlimit(Resource::Nofile).current)
        ),
        Some(libc::ENFILE) => "too many open files on this machine (fs.file-max): raise it".to_owned(),
        Some(libc::EFBIG) if file_size().is_some() => long_file(),
        Some(libc::ENOMEM) if memory().is_some() => address_space(),
        _ => return error,
    };
    io::Error::new(error.kind(), Reached::limit(format!("{error}: {limit}")))
}

/// The limit behind the signal that killed a child.
pub fn of_signal(signal: i32) -> Option<String> {
    match signal {
        libc::SIGXFSZ => Some(long_file()),
        libc::SIGXCPU => {
            let limit = shown(getrlimit(Resource::Cpu).maximum);
            Some(format!("it used more processor time than RLIMIT_CPU, {limit} s, allows: raise it"))
        }
        _ => None,
    }
}

/// Marks lines of programs that continue after such a refusal.
const HARMLESS: [&str; 5] = ["io_uring", "native AIO", "libaio", "mlock", "large page"];

/// What programs print when they fail to start a thread or child. (EAGAIN is 11)
const OF_THREADS: [&str; 5] = [
    "Resource temporarily unavailable",
    "t create thread",
    "t create interrupt-thread",
    "ailed to create thread",
    "could not create thread",
];

/// What they print when they fail to allocate memory.
const OF_MEMORY: [&str; 5] =
    ["Cannot allocate memory", "std::bad_alloc", "failed to map segment", "Out of memory", "annot allocate"];

/// The limit that a line of a child's output reports, if it does.
pub fn told_by(line: &str) -> Option<String> {
    let says = |words: &[&str]| words.iter().any(|words| line.contains(words));
    match line {
        _ if says(&HARMLESS) => None,
        _ if says(&OF_THREADS) => Some(threads()),
        _ if memory().is_some() && says(&OF_MEMORY) => Some(address_space()),
        _ => None,
    }
}

/// Threads take address space too, so a limit on that may be the cause.
fn threads() -> String {
    let limit = shown(getrlimit(Resource::Nproc).maximum);
    // Version 2 and version 1 of control groups.
    let files = ["/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"];
    let pids = files.into_iter().find_map(|file| std::fs::read_to_string(file).ok());
    let pids = pids.map(|pids| format!(", pids.max {}", pids.trim())).unwrap_or_default();
    let memory = memory().map(|_| format!("; or {}", address_space())).unwrap_or_default();
    format!("too many processes and threads (RLIMIT_NPROC {limit}{pids}): raise the container's limit{memory}")
}

fn long_file() -> String {
    let limit = shown(file_size());
    format!("a file grew beyond the limit RLIMIT_FSIZE of {limit} bytes: raise the container's limit")
}

fn address_space() -> String {
    let [space, data] = [Resource::As, Resource::Data].map(|resource| shown(getrlimit(resource).maximum));
    format!("too much memory mapped (RLIMIT_AS {space}, RLIMIT_DATA {data}): raise the container's limit")
}

pub(super) fn shown(limit: Option<u64>) -> String {
    limit.map_or("unlimited".to_owned(), |limit| limit.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_call_names_the_limit_and_its_value() {
        let of = |number| explain(io::Error::from_raw_os_error(number));
        let threads = of(libc::EAGAIN);
        assert!(Reached::is_in(&threads) && threads.kind() == io::ErrorKind::WouldBlock);
        let number = shown(getrlimit(Resource::Nproc).maximum);
        assert!(threads.to_string().contains(&format!("RLIMIT_NPROC {number}")), "{threads}");
        assert!(of(libc::EMFILE).to_string().contains("RLIMIT_NOFILE"));
        assert!(Reached::is_in(&explain(explain(io::Error::from_raw_os_error(libc::EMFILE)))));
        assert!(!Reached::is_in(&of(libc::ENOENT)) && !Reached::is_in(&io::Error::other("x")));
        assert!(of_signal(libc::SIGXFSZ).is_some_and(|limit| limit.contains("RLIMIT_FSIZE of ")));
        assert_eq!(of_signal(libc::SIGTERM), None);
    }

    #[test]
    fn a_childs_output_names_the_limit() {
        for line in [
            "  what():  Resource temporarily unavailable",
            "2026-11-29  8:44:55 0 [ERROR] Can't create interrupt-thread (error 11, errno: 11)",
            "2026-11-29  8:50:52 0 [ERROR] Failed to create thread while initialising slave",
            "Warning : threadpool thread could not be created :Resource temporarily unavailable,current number of threads in pool 0",
        ] {
            assert!(told_by(line).is_some_and(|limit| limit.contains("RLIMIT_NPROC")), "{line}");
        }
        for line in [
            "[Warning] mariadbd: io_uring_queue_init() failed with errno 11: Resource temporarily unavailable",
            "[Warning] InnoDB: native AIO failed: Cannot allocate memory",
            "completed OK!",
        ] {
            assert_eq!(told_by(line), None, "{line}");
        }
    }
}

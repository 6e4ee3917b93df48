//! A limit that something has run into: a call of ours, or a child by its signal or its words. It is named with its number,
//! and with what raises it.

use std::io;

use rustix::process::{Resource, getrlimit};

use super::{file_size, memory};
use crate::model::exit::Reached;

/// Names the limit where a call failed by one: a child or a thread that can't be started, a file that can't be opened, a write.
pub fn explain(error: io::Error) -> io::Error {
    let limit = match error.raw_os_error() {
        Some(libc::EAGAIN) => threads(),
        Some(libc::EMFILE) => format!(
            "this process has too many files open (RLIMIT_NOFILE {}): raise the container's limit",
            shown(getrlimit(Resource::Nofile).current)
        ),
        Some(libc::ENFILE) => "the machine has too many files open (fs.file-max): raise it".to_owned(),
        Some(libc::EFBIG) if file_size().is_some() => long_file(),
        Some(libc::ENOMEM) if memory().is_some() => address_space(),
        _ => return error,
    };
    io::Error::new(error.kind(), Reached::limit(format!("{error}: {limit}")))
}

/// The limit that a child has run into which died by this signal.
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

/// In lines of programs that go on without what they were refused.
const HARMLESS: [&str; 5] = ["io_uring", "native AIO", "libaio", "mlock", "large page"];

/// What programs say of a thread or child that they could not start. (EAGAIN is 11)
const OF_THREADS: [&str; 5] = [
    "Resource temporarily unavailable",
    "t create thread",
    "t create interrupt-thread",
    "ailed to create thread",
    "could not create thread",
];

/// What they say of memory that they could not have.
const OF_MEMORY: [&str; 5] =
    ["Cannot allocate memory", "std::bad_alloc", "failed to map segment", "Out of memory", "annot allocate"];

/// The limit that a line of a child's output tells of, where it does.
pub fn told_by(line: &str) -> Option<String> {
    let says = |words: &[&str]| words.iter().any(|words| line.contains(words));
    match line {
        _ if says(&HARMLESS) => None,
        _ if says(&OF_THREADS) => Some(threads()),
        _ if memory().is_some() && says(&OF_MEMORY) => Some(address_space()),
        _ => None,
    }
}

/// Threads take address space too: where that has a limit, it may have been the one.
fn threads() -> String {
    let limit = shown(getrlimit(Resource::Nproc).maximum);
    // By either version of control groups.
    let files = ["/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"];
    let pids = files.into_iter().find_map(|file| std::fs::read_to_string(file).ok());
    let pids = pids.map(|pids| format!(", pids.max {}", pids.trim())).unwrap_or_default();
    let memory = memory().map(|_| format!("; or {}", address_space())).unwrap_or_default();
    format!(
        "no more processes and threads may be started (RLIMIT_NPROC {limit}{pids}): raise the container's limit{memory}"
    )
}

fn long_file() -> String {
    let limit = shown(file_size());
    format!("a file grew beyond the limit RLIMIT_FSIZE of {limit} bytes: raise the container's limit")
}

fn address_space() -> String {
    let [space, data] = [Resource::As, Resource::Data].map(|resource| shown(getrlimit(resource).maximum));
    format!("no more memory may be mapped (RLIMIT_AS {space}, RLIMIT_DATA {data}): raise the container's limit")
}

pub(super) fn shown(limit: Option<u64>) -> String {
    limit.map_or("unlimited".to_owned(), |limit| limit.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stops_a_call_is_named_with_its_number() {
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
    fn what_a_child_says_of_a_limit() {
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

//! Whether the container has room for what a clone starts, looked at before the first byte.

use std::fmt;
use std::sync::mpsc::channel;
use std::thread::{Builder, scope};

use super::reached::explain;
use super::{file_size, memory};

/// Threads that the clone and the program that it runs have at a time. Where no more than 11 could be made, mariadb-backup
/// 10.11 waited for ever for one, or a server ended; 14 sufficed for both, on two processors.
const THREADS: usize = 24;

/// Enough for a thread that waits.
const STACK: usize = 64 << 10;

/// Bytes that a program of ours must be able to map. With 150 MB of address space mariadb-backup 10.11 failed, with 61 MB of
/// data it hung; 205 MB sufficed for its prepare and for a server.
const MEMORY: u64 = 192 << 20;

/// What there is too little of.
#[derive(Debug, PartialEq, Eq)]
pub struct NoRoom(String);

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoRoom {}

/// Whether as many threads can be started, and as much memory be mapped, as a clone takes. Limits of threads count those of
/// other containers too, so they are tried.
pub fn ensure_room() -> Result<(), NoRoom> {
    enough_memory(memory())?;
    try_threads(THREADS)
}

/// Whether a file as long as the donor's largest may be written here.
pub fn check_file_size(largest: Option<u64>) -> Result<(), NoRoom> {
    fits(largest, file_size())
}

fn enough_memory(limit: Option<u64>) -> Result<(), NoRoom> {
    match limit {
        Some(limit) if limit < MEMORY => Err(NoRoom(format!(
            "a clone runs programs that map {MEMORY} bytes of memory and more, and the container's hard limit (RLIMIT_AS, \
             RLIMIT_DATA) is {limit}: raise it"
        ))),
        _ => Ok(()),
    }
}

fn fits(largest: Option<u64>, limit: Option<u64>) -> Result<(), NoRoom> {
    match (largest, limit) {
        (Some(largest), Some(limit)) if largest > limit => Err(NoRoom(format!(
            "the donor's largest file has {largest} bytes, and the container's hard limit of a file's size (RLIMIT_FSIZE) is \
             {limit}: raise it"
        ))),
        _ => Ok(()),
    }
}

/// All of them at once, each for a moment.
fn try_threads(count: usize) -> Result<(), NoRoom> {
    scope(|scope| {
        let mut ends = Vec::with_capacity(count);
        for started in 0..count {
            let (end, wait) = channel::<()>();
            let thread = Builder::new().stack_size(STACK).spawn_scoped(scope, move || wait.recv());
            thread.map_err(|error| {
                NoRoom(format!("a clone needs {count} threads, and {started} can be started: {}", explain(error)))
            })?;
            ends.push(end);
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_is_named_with_both_numbers() {
        assert_eq!(enough_memory(None), Ok(()));
        assert_eq!(enough_memory(Some(MEMORY)), Ok(()));
        let NoRoom(text) = enough_memory(Some(51_200_000)).unwrap_err();
        assert!(text.contains("201326592 bytes") && text.contains("is 51200000: raise it"), "{text}");

        assert_eq!([fits(None, Some(1)), fits(Some(9), None), fits(Some(7), Some(7))], [Ok(()), Ok(()), Ok(())]);
        let NoRoom(text) = fits(Some(8), Some(7)).unwrap_err();
        assert!(text.contains("has 8 bytes") && text.contains("(RLIMIT_FSIZE) is 7: raise it"), "{text}");
    }

    #[test]
    fn threads_are_tried_and_end() {
        for _ in 0..100 {
            assert_eq!(try_threads(THREADS), Ok(()));
        }
    }
}

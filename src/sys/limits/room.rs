//! Checks before the first byte whether the container's limits leave enough threads, memory and file size for a
//! clone.

use std::sync::mpsc::channel;
use std::thread::{Builder, scope};

use super::reached::explain;
use super::{file_size, memory};

/// Threads that a clone and its program have at a time. With room for only 11, mariadb-backup 10.11 waited
/// forever for a thread, or a server ended. On two processors 14 sufficed for both.
const THREADS: usize = 24;

/// Enough for a thread that waits.
const STACK: usize = 64 << 10;

/// Bytes that our programs must be able to map. With 150 MB of address space mariadb-backup 10.11 failed, with 61
/// MB of data it hung. 205 MB sufficed for its prepare and for a server.
const MEMORY: u64 = 192 << 20;

/// Names the scarce resource.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoRoom(String);

/// Checks that a clone's threads can be started and its memory mapped. Thread limits are shared with other
/// containers, so the check starts the threads.
pub fn ensure_room() -> Result<(), NoRoom> {
    enough_memory(memory())?;
    try_threads(THREADS)
}

/// Checks that a file as long as the donor's largest may be written here.
pub fn check_file_size(largest: Option<u64>) -> Result<(), NoRoom> {
    fits(largest, file_size())
}

fn enough_memory(limit: Option<u64>) -> Result<(), NoRoom> {
    match limit {
        Some(limit) if limit < MEMORY => Err(NoRoom(format!(
            "a clone runs programs that map at least {MEMORY} bytes of memory, but the container's hard limit (RLIMIT_AS, \
             RLIMIT_DATA) is {limit}: raise it"
        ))),
        _ => Ok(()),
    }
}

fn fits(largest: Option<u64>, limit: Option<u64>) -> Result<(), NoRoom> {
    match (largest, limit) {
        (Some(largest), Some(limit)) if largest > limit => Err(NoRoom(format!(
            "the donor's largest file has {largest} bytes, but the container's hard limit on file size (RLIMIT_FSIZE) is \
             {limit}: raise it"
        ))),
        _ => Ok(()),
    }
}

/// Starts all of them at once, each for a moment.
fn try_threads(count: usize) -> Result<(), NoRoom> {
    scope(|scope| {
        let mut ends = Vec::with_capacity(count);
        for started in 0..count {
            let (end, wait) = channel::<()>();
            let thread = Builder::new().stack_size(STACK).spawn_scoped(scope, move || wait.recv());
            thread.map_err(|error| {
                NoRoom(format!("a clone needs {count} threads, but only {started} can be started: {}", explain(error)))
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

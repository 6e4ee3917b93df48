//! How much memory a prepare gets: by the length of the log, and by what the container has left.

use crate::sys::container_memory;

/// Enough for a short log.
const ENOUGH: u64 = 1 << 30;

/// Enough for a long log, per byte of it. InnoDB applies a log in one pass if the parsed records fill at most a
/// third of its buffer pool (MariaDB's `recv_sys_t::is_memory_exhausted`). Otherwise it reads the pages again for
/// each part.
///
/// Measured with mariadb-backup 10.11 and a log of 750 MB: 7.3 s with 96 MiB, 5.0 with 512 MiB, 5.6 with 1 GiB
/// (just too little), 3.8 with 1.25 to 1.75 GiB, and 4.0 with 2 or 4 GiB. Some virtual machines are slow at the
/// first touch of memory, so that more memory takes longer: with 2.1 GiB it took 5 to 7 s there.
const PER_BYTE_OF_LOG: u64 = 2;

/// More gains little, even if a log then takes several parts.
const MOST: u64 = 8 << 30;

/// Less makes the tools slow, or they refuse to start.
const LEAST: u64 = 64 << 20;

/// Bytes for the first attempt to prepare a backup with a log of this length. It is at most half of the
/// container's memory, because the tool needs more than its buffer pool. A limit on mapped memory (`ulimit -v`)
/// counts the stacks and arenas of threads too, so there it is a quarter.
pub fn for_prepare(log_bytes: u64) -> u64 {
    within(container_memory::usable().unwrap_or(u64::MAX), log_bytes)
}

fn within(limit: u64, log_bytes: u64) -> u64 {
    let wanted = log_bytes.saturating_mul(PER_BYTE_OF_LOG).clamp(ENOUGH, MOST);
    wanted.min(limit / 2).max(LEAST)
}

/// The memory for prepare after this many halvings.
pub fn halved(memory: u64, halvings: u32) -> u64 {
    memory.checked_shr(halvings).unwrap_or(0).max(memory.min(LEAST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_between_the_least_and_enough() {
        let memory = for_prepare(0);
        assert!((LEAST..=ENOUGH).contains(&memory));
    }

    #[test]
    fn a_long_log_gets_more_as_far_as_the_limit_goes() {
        const GIB: u64 = 1 << 30;
        for (limit, log, expected) in [
            (u64::MAX, 0, GIB),
            (u64::MAX, GIB / 2, GIB),
            (u64::MAX, GIB, 2 * GIB),
            (u64::MAX, 100 * GIB, MOST),
            (u64::MAX, u64::MAX, MOST),
            (2 * GIB, 0, GIB),
            (2 * GIB, GIB, GIB),
            (4 * GIB, 3 * GIB, 2 * GIB),
            (GIB / 2, GIB, GIB / 4),
            (100 << 20, GIB, LEAST),
        ] {
            assert_eq!(within(limit, log), expected, "{limit} {log}");
        }
    }

    #[test]
    fn is_halved_down_to_the_least() {
        const MIB: u64 = 1 << 20;
        for (memory, halvings, expected) in [
            (1024 * MIB, 0, 1024 * MIB),
            (1024 * MIB, 1, 512 * MIB),
            (1024 * MIB, 9, LEAST),
            (1024 * MIB, 99, LEAST),
            (32 * MIB, 3, 32 * MIB),
        ] {
            assert_eq!(halved(memory, halvings), expected, "{memory} {halvings}");
        }
    }
}

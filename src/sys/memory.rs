//! How much memory the tool may take.

use anyhow::Result;
use tracing::debug;

use crate::model::exit::Reason;
use crate::sys::child::Ceiling;
use crate::sys::limits;

/// Enough for a short log.
const ENOUGH: u64 = 1 << 30;

/// Enough for a long one, per byte of it. InnoDB applies a log in one go as long as the records that it has read fill no
/// more than a third of its buffer pool (MariaDB's `recv_sys_t::is_memory_exhausted`); else it reads the pages again for
/// each part. A log of 750 MB was prepared with 96 MiB in 7.3 s, with 512 MiB in 5.0, with 1 GiB, just too little, in 5.6,
/// with 1.25 to 1.75 GiB in 3.8, and with 2 or 4 GiB in 4.0 (mariadb-backup 10.11). Where the machine's memory is slow to
/// be touched for the first time, as in some virtual machines, more costs more: with 2.1 GiB it took 5 to 7 s there.
const PER_BYTE_OF_LOG: u64 = 2;

/// What is more gains little, even where a log takes several parts then.
const MOST: u64 = 8 << 30;

/// Less makes the tools slow or refuse.
const LEAST: u64 = 64 << 20;

/// What is more stands for no limit: the first version of control groups has no word for that.
const NO_LIMIT: u64 = 1 << 60;

/// Bytes for the first try to prepare a backup whose log is this long: at most half of what the container may use, for
/// the tool needs more than its buffer pool. Where a limit counts what is mapped (`ulimit -v`) it gets a quarter: the stacks and
/// arenas of threads count there too.
pub fn for_prepare(log_bytes: u64) -> u64 {
    let free = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| available(&text));
    let limit = [container_limit(), free, limits::memory().map(|limit| limit / 2)]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(u64::MAX);
    within(limit, log_bytes)
}

fn within(limit: u64, log_bytes: u64) -> u64 {
    let wanted = log_bytes.saturating_mul(PER_BYTE_OF_LOG).clamp(ENOUGH, MOST);
    wanted.min(limit / 2).max(LEAST)
}

/// What is left of the memory for a prepare after it was halved so often.
pub fn halved(memory: u64, halvings: u32) -> u64 {
    memory.checked_shr(halvings).unwrap_or(0).max(memory.min(LEAST))
}

/// What the tool may use before it is killed, where the container has a limit.
pub fn ceiling() -> Option<Ceiling> {
    let limit = container_limit();
    debug!(limit, "the container's memory");
    limit.map(Ceiling::below)
}

/// Refuses what needs more than the container's limit leaves, with both numbers.
pub fn ensure(what: &str, needed: u64, remedy: &str) -> Result<()> {
    ceiling().map_or(Ok(()), |ceiling| enough(what, needed, remedy, ceiling))
}

fn enough(what: &str, needed: u64, remedy: &str, ceiling: Ceiling) -> Result<()> {
    let (usable, limit) = (ceiling.bytes(), ceiling.limit());
    if usable >= needed {
        return Ok(());
    }
    let mebibytes = |bytes: u64| bytes.div_ceil(1 << 20);
    Err(Reason::Limit.error(format!(
        "{what} needs {} MiB of memory beside a reserve of {} MiB, and the container's limit is {} MiB: raise it, or {remedy}",
        mebibytes(needed),
        mebibytes(limit.saturating_sub(usable)),
        mebibytes(limit)
    )))
}

/// By either version of control groups.
fn container_limit() -> Option<u64> {
    let files = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    files.into_iter().filter_map(|file| limit(&std::fs::read_to_string(file).ok()?)).min()
}

/// The second version says `max` where there is no limit.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|limit| *limit < NO_LIMIT)
}

fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_low_a_limit_is_refused_with_both_numbers_and_the_remedy() {
        let with = |mebibytes: u64| {
            enough("the rehearsal of a copy", 240 << 20, "say --rehearsal off", Ceiling::below(mebibytes << 20))
        };
        assert!(with(512).is_ok() && with(256).is_ok());
        let error = with(200).unwrap_err();
        assert_eq!(crate::model::exit::reason_of(&error), Some(Reason::Limit));
        for word in ["240 MiB", "200 MiB", "--rehearsal off"] {
            assert!(error.to_string().contains(word), "{error}");
        }
    }

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

    #[test]
    fn reads_a_limit_where_there_is_one() {
        assert_eq!(limit("1073741824\n"), Some(1 << 30));
        assert_eq!((limit("max\n"), limit("9223372036854771712\n"), limit("")), (None, None, None));
    }

    #[test]
    fn reads_what_is_available() {
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:   2048 kB\n"), Some(2 << 20));
        assert_eq!(available("MemTotal: 9 kB\n"), None);
    }
}

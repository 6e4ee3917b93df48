//! The memory that the container has left, and whether that suffices.

use anyhow::Result;
use tracing::debug;

use crate::model::exit::Reason;
use crate::sys::child::Ceiling;
use crate::sys::limits;

/// A higher number means unlimited: version 1 of control groups has only numbers.
const NO_LIMIT: u64 = 1 << 60;

/// Bytes that this process and its children may use now; `None` where nothing limits them.
pub fn usable() -> Option<u64> {
    let free = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| available(&text));
    [container_limit(), free, limits::memory().map(|limit| limit / 2)].into_iter().flatten().min()
}

/// How much memory a tool may use before it is killed, if the container has a limit.
pub fn ceiling() -> Option<Ceiling> {
    let limit = container_limit();
    debug!(limit, "the container's memory");
    limit.map(Ceiling::below)
}

/// Fails if the container's limit leaves less than `needed` bytes. The error has both numbers.
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
        "{what} needs {} MiB of memory and a reserve of {} MiB, but the container's limit is {} MiB: raise it, or {remedy}",
        mebibytes(needed),
        mebibytes(limit.saturating_sub(usable)),
        mebibytes(limit)
    )))
}

/// Reads version 2 or version 1 of control groups.
fn container_limit() -> Option<u64> {
    let files = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    files.into_iter().filter_map(|file| limit(&std::fs::read_to_string(file).ok()?)).min()
}

/// Version 2 has `max` for unlimited.
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

//! How much memory the tool may take.

use tracing::debug;

use crate::child::Ceiling;

/// More made prepare no faster: with 1 GiB it was the quickest, with 4 GiB slower again.
const ENOUGH: u64 = 1 << 30;

/// Less makes the tools slow or refuse.
const LEAST: u64 = 64 << 20;

/// What is more stands for no limit: the first version of control groups has no word for that.
const NO_LIMIT: u64 = 1 << 60;

/// Bytes for the first try: half of what the container may use, for the tool needs more than its buffer pool.
pub fn for_prepare() -> u64 {
    let free = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| available(&text));
    let limit = [container_limit(), free].into_iter().flatten().min().unwrap_or(u64::MAX);
    (limit / 2).clamp(LEAST, ENOUGH)
}

/// What the tool may use before it is killed, where the container has a limit.
pub fn ceiling() -> Option<Ceiling> {
    let limit = container_limit();
    debug!(limit, "the container's memory");
    limit.map(Ceiling::below)
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
    fn stays_between_the_least_and_enough() {
        let memory = for_prepare();
        assert!((LEAST..=ENOUGH).contains(&memory));
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

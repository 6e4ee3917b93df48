//! How much memory prepare may take.

use std::path::Path;

/// More made prepare no faster: with 1 GiB it was the quickest, with 4 GiB slower again.
const ENOUGH: u64 = 1 << 30;

/// Less makes the tools slow or refuse.
const LEAST: u64 = 64 << 20;

/// Bytes for the first try: half of what the container may use, for the tool needs more than its buffer pool.
pub fn for_prepare() -> u64 {
    let limit = limits().into_iter().flatten().min().unwrap_or(u64::MAX);
    (limit / 2).clamp(LEAST, ENOUGH)
}

/// The container's limit by either version of control groups, and the machine's free memory.
fn limits() -> [Option<u64>; 3] {
    [
        number_in(Path::new("/sys/fs/cgroup/memory.max")),
        number_in(Path::new("/sys/fs/cgroup/memory/memory.limit_in_bytes")),
        std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| available(&text)),
    ]
}

/// `max` stands for no limit.
fn number_in(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
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
    fn reads_what_is_available() {
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:   2048 kB\n"), Some(2 << 20));
        assert_eq!(available("MemTotal: 9 kB\n"), None);
    }
}

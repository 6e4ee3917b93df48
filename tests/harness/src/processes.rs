//! This machine's processes, read from `/proc`.

/// Processes whose parent is the sidecar. Any of its threads may have started them.
pub fn tools_below(sidecar: u32) -> Vec<String> {
    let threads = std::fs::read_dir(format!("/proc/{sidecar}/task")).into_iter().flatten().flatten();
    let children = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    children.flat_map(|pids| pids.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

//! Where what the tests make lies until they end.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;

/// Bytes of memory that are enough for the volumes of all pods that run at once, and for their servers.
const ENOUGH: u64 = 12 << 30;

const MEMORY: &str = "/dev/shm";

const NAME: &str = "mysqlset-pods";

/// A directory that every user can pass, named for this process.
pub fn work_directory() -> Result<PathBuf> {
    work_directory_in(&place())
}

/// The same, never in memory.
pub fn work_directory_on_disk() -> Result<PathBuf> {
    let temporary = std::env::temp_dir();
    work_directory_in(if temporary.starts_with(MEMORY) { Path::new("/var/tmp") } else { &temporary })
}

fn work_directory_in(place: &Path) -> Result<PathBuf> {
    static NUMBERS: AtomicU64 = AtomicU64::new(0);
    for place in [Path::new(MEMORY), Path::new("/var/tmp"), &std::env::temp_dir()] {
        remove_what_is_left(&place.join(NAME));
    }
    let parent = place.join(NAME);
    std::fs::create_dir_all(&parent)?;
    rustix::fs::chmod(&parent, 0o755.into())?;
    let directory = parent.join(format!("{}-{}", std::process::id(), NUMBERS.fetch_add(1, Ordering::Relaxed)));
    std::fs::create_dir_all(&directory)?;
    rustix::fs::chmod(&directory, 0o755.into())?;
    Ok(directory)
}

/// Of processes that were killed.
fn remove_what_is_left(parent: &Path) {
    let is_ours = |found: &Metadata| found.is_dir() && found.uid() == rustix::process::getuid().as_raw();
    if !parent.symlink_metadata().is_ok_and(|found| is_ours(&found)) {
        return;
    }
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.split('-').next().unwrap_or_default().to_owned();
        if !Path::new("/proc").join(owner).exists() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// In memory where there is enough of it: servers sync all the time what is thrown away in a minute, and what a lost disk
/// keeps is tested on disks of their own. Else, and where `TMPDIR` says so, on the machine's disk.
fn place() -> PathBuf {
    let memory = Path::new(MEMORY);
    let free = rustix::fs::statvfs(memory).map_or(0, |space| space.f_bavail * space.f_frsize);
    if std::env::var_os("TMPDIR").is_none() && free.min(available_memory()) >= ENOUGH {
        return memory.to_owned();
    }
    std::env::temp_dir()
}

/// Bytes, as proc_meminfo(5) has them.
fn available_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

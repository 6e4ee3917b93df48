//! The directory of the tests' files until their end.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;

/// Enough memory for the volumes and the servers of all pods at once, in bytes.
const ENOUGH: u64 = 12 << 30;

const MEMORY: &str = "/dev/shm";

const NAME: &str = "mysqlset-pods";

/// A directory that every user can pass, named for this process.
pub fn work_directory() -> Result<PathBuf> {
    work_directory_in(&place())
}

/// The same, always on disk.
pub fn work_directory_on_disk() -> Result<PathBuf> {
    let temporary = std::env::temp_dir();
    work_directory_in(if temporary.starts_with(MEMORY) { Path::new("/var/tmp") } else { &temporary })
}

fn work_directory_in(place: &Path) -> Result<PathBuf> {
    static NUMBERS: AtomicU64 = AtomicU64::new(0);
    for place in [Path::new(MEMORY), Path::new("/var/tmp"), &std::env::temp_dir()] {
        remove_leftovers(&place.join(NAME));
    }
    let parent = place.join(NAME);
    std::fs::create_dir_all(&parent)?;
    rustix::fs::chmod(&parent, 0o755.into())?;
    let directory = parent.join(format!("{}-{}", std::process::id(), NUMBERS.fetch_add(1, Ordering::Relaxed)));
    std::fs::create_dir_all(&directory)?;
    rustix::fs::chmod(&directory, 0o755.into())?;
    Ok(directory)
}

/// Removes the directories of killed processes.
fn remove_leftovers(parent: &Path) {
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

/// In memory if there is enough of it: servers constantly sync data that lasts a minute. Disks with power losses have
/// tests of their own. Otherwise on the machine's disk, and also if `TMPDIR` names a place there.
fn place() -> PathBuf {
    let memory = Path::new(MEMORY);
    let free = rustix::fs::statvfs(memory).map_or(0, |space| space.f_bavail * space.f_frsize);
    if std::env::var_os("TMPDIR").is_none() && free.min(available_memory()) >= ENOUGH {
        return memory.to_owned();
    }
    std::env::temp_dir()
}

/// Bytes, read from proc_meminfo(5).
fn available_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

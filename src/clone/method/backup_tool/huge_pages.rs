//! Huge pages for what the backup tool reads tables into.
//!
//! It reads ten MiB at a time (`xb_fil_cur_open`), past the page cache where its server does. In pages of 4 KiB, which lie
//! anywhere, that is up to 2,560 pieces for the disk, and a virtual one takes no more than its queue has room for, 256 on
//! one: then a read fills the queue, and the next read, or what a recipient writes on the same disk, waits for its end. In
//! huge pages it is a few, and the ends.
//!
//! For small tables they are a loss: the tool takes such memory anew for each table, and all of a huge page is zeroed for
//! the little that is read into it. 3,000 tables of 64 KiB took 6.5 to 7.1 s instead of 5.8 with four threads
//! (mariadb-backup 10.11).
//!
//! glibc asks for them where it is told to (`glibc.malloc.hugetlb`, since 2.35). Older ones and other C libraries pass
//! over what they don't know, and kernels without huge pages over the wish.

use std::ffi::{OsStr, OsString};
use std::process::Command;

/// What glibc is told by.
const VARIABLE: &str = "GLIBC_TUNABLES";

/// With 1 it advises (`madvise`), and takes nothing that was set apart for others. It advises about what it maps for one
/// request. Alone it had the tool use 84 and 136 MB for small tables by 64 threads, instead of 53 and 63; with the other
/// 51 and 53.
const HUGE_PAGES: &str = "glibc.malloc.hugetlb";

/// From which size on a request is mapped for. Untold it serves even large ones from memory that it has, once the first of
/// them was given back.
const MAP_FROM: &str = "glibc.malloc.mmap_threshold";

/// From this size of files on what is zeroed for nothing, two huge pages for each, is little beside what is read.
const LEAST_FILE: u64 = 8 << 20;

/// Whether a program gains by them that copies files of this size, in bytes, on average.
pub fn pay(mean_file_bytes: u64) -> bool {
    mean_file_bytes >= LEAST_FILE
}

/// Has a program's larger memory lie in huge pages, unless our own environment has the tunable.
pub fn prefer(command: &mut Command) {
    command.env(VARIABLE, with_huge_pages(std::env::var_os(VARIABLE)));
}

fn with_huge_pages(told: Option<OsString>) -> OsString {
    let mut tunables = told.unwrap_or_default();
    if says(&tunables, HUGE_PAGES) {
        return tunables;
    }
    for (name, value) in [(HUGE_PAGES, "1"), (MAP_FROM, "4194304")] {
        if !says(&tunables, name) {
            let separator = if tunables.is_empty() { "" } else { ":" };
            tunables.push(format!("{separator}{name}={value}"));
        }
    }
    tunables
}

fn says(tunables: &OsStr, name: &str) -> bool {
    tunables.to_string_lossy().split(':').any(|tunable| tunable.split('=').next() == Some(name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::time::Duration;

    use super::super::{Backup, BackupTool, Family, Version};
    use super::*;
    use crate::model::host::HostPort;
    use crate::server::account::Account;
    use crate::sys::limits::Descriptors;
    use crate::sys::secret::Password;

    #[test]
    fn a_backup_of_large_files_is_told() {
        let version = "mariadb-backup based on MariaDB server 10.11.19-MariaDB";
        let tool = BackupTool {
            program: "mariadb-backup".into(),
            family: Family::Mariadb,
            version: Version::parse(version, Family::Mariadb).unwrap(),
        };
        let server = HostPort { host: "127.0.0.1".into(), port: 3306 };
        let account = Account { user: "backup".into(), password: Password::fixed("s3cret"), socket: None };
        let variables = BTreeMap::new();
        let backup = |mean_file_bytes| Backup {
            variables: &variables,
            server: &server,
            account: &account,
            data_dir: Path::new("/var/lib/mysql"),
            scratch: Path::new("/scratch"),
            lock_wait: Duration::from_secs(60),
            threads: 4,
            descriptors: Descriptors::for_files(0).unwrap(),
            mean_file_bytes,
            of_replica: false,
        };
        for (mean_file_bytes, expected) in [(0, false), (LEAST_FILE - 1, false), (LEAST_FILE, true), (1 << 40, true)] {
            let command = tool.backup_command(&backup(mean_file_bytes), "--defaults-file=/dev/null".into());
            let told = command.get_envs().find(|(name, _)| *name == VARIABLE).and_then(|(_, value)| value);
            assert_eq!(told.is_some_and(|told| says(told, HUGE_PAGES)), expected, "{mean_file_bytes}: {told:?}");
        }
    }

    #[test]
    fn what_was_told_stays() {
        let both = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4194304";
        for (told, expected) in [
            (None, both.to_owned()),
            (Some(""), both.to_owned()),
            (Some("glibc.malloc.arena_max=1"), format!("glibc.malloc.arena_max=1:{both}")),
            (Some("glibc.malloc.hugetlb=0"), "glibc.malloc.hugetlb=0".to_owned()),
            (Some("glibc.malloc.mmap_threshold=9"), "glibc.malloc.mmap_threshold=9:glibc.malloc.hugetlb=1".to_owned()),
            (Some("glibc.malloc.hugetlb_pool=3"), format!("glibc.malloc.hugetlb_pool=3:{both}")),
        ] {
            assert_eq!(with_huge_pages(told.map(OsString::from)), OsString::from(expected));
        }
    }
}

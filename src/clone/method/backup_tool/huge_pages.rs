//! Puts the backup tool's read buffers into huge pages.
//!
//! The tool reads ten MiB at a time (`xb_fil_cur_open`), past the page cache if its server does. In scattered pages of
//! 4 KiB that is up to 2,560 pieces for the disk. A virtual disk accepts only as many as its queue holds, 256 on one.
//! So a read fills the queue, and the next read, or a recipient's write on the same disk, waits for its end. In huge
//! pages a read is a few pieces and the ends.
//!
//! For small tables huge pages are a loss. The tool allocates the memory for each table, and all of a huge page is
//! zeroed for the few bytes that are read into it. With four threads, 3,000 tables of 64 KiB took 6.5 to 7.1 s instead
//! of 5.8 (mariadb-backup 10.11).
//!
//! glibc asks for huge pages by a tunable (`glibc.malloc.hugetlb`, since 2.35). Older versions and other C libraries
//! ignore it, and a kernel that lacks huge pages ignores the request.

use std::ffi::{OsStr, OsString};
use std::process::Command;

/// The environment variable for glibc's tunables.
const VARIABLE: &str = "GLIBC_TUNABLES";

/// With 1, glibc advises (`madvise`) for each mapping of a single request, and leaves reserved pages alone. With this
/// tunable alone, 64 threads used 84 and 136 MB for small tables, instead of 53 and 63. With the second one they used
/// 51 and 53.
const HUGE_PAGES: &str = "glibc.malloc.hugetlb";

/// The size from which a request gets a mapping of its own. By default glibc serves even large requests from its own
/// memory, once the first of them was freed.
const MAP_FROM: &str = "glibc.malloc.mmap_threshold";

/// From this file size on, needless zeroing (two huge pages a file) is small beside the reading.
const LEAST_FILE: u64 = 8 << 20;

/// Whether huge pages pay for a program that copies files of this average size, in bytes.
pub fn pay(mean_file_bytes: u64) -> bool {
    mean_file_bytes >= LEAST_FILE
}

/// Asks for huge pages for a program's larger memory, unless the environment already sets the tunable.
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
    fn only_a_backup_of_large_files_gets_huge_pages() {
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
    fn existing_tunables_stay() {
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

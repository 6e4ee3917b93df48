//! Huge pages for what the backup tool reads tables into.
//!
//! It reads past the page cache, ten MB at a time (`xb_fil_cur_open`). In pages of 4 KiB, which lie anywhere, that is 2,560
//! pieces for the disk, and a virtual one takes no more than its queue has room for, 256 on one: then a read fills the
//! queue, and the next read, or what a recipient writes on the same disk, waits for its end. In huge pages it is five.
//!
//! glibc asks for them where it is told to (`glibc.malloc.hugetlb`, since 2.35). Older ones and other C libraries pass
//! over what they don't know, and kernels without huge pages over the wish.

use std::ffi::{OsStr, OsString};
use std::process::Command;

/// What glibc is told by.
const VARIABLE: &str = "GLIBC_TUNABLES";

/// The tunable; with 1 it advises (`madvise`), and takes nothing that was set apart for others.
const NAME: &str = "glibc.malloc.hugetlb";

/// Has a program's larger memory lie in huge pages, unless this program was told otherwise for itself.
pub fn prefer(command: &mut Command) {
    command.env(VARIABLE, with_huge_pages(std::env::var_os(VARIABLE)));
}

fn with_huge_pages(told: Option<OsString>) -> OsString {
    let mut tunables = told.unwrap_or_default();
    if !says(&tunables, NAME) {
        let separator = if tunables.is_empty() { "" } else { ":" };
        tunables.push(format!("{separator}{NAME}=1"));
    }
    tunables
}

fn says(tunables: &OsStr, name: &str) -> bool {
    tunables.to_string_lossy().split(':').any(|tunable| tunable.split('=').next() == Some(name))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::super::{Backup, BackupTool, Family, Version};
    use super::*;
    use crate::secret::Password;
    use crate::settings::{Account, HostPort};

    #[test]
    fn a_backup_is_told() {
        let version = "mariadb-backup based on MariaDB server 10.11.19-MariaDB";
        let tool = BackupTool {
            program: "mariadb-backup".into(),
            family: Family::Mariadb,
            version: Version::parse(version, Family::Mariadb).unwrap(),
        };
        let backup = Backup {
            server: &HostPort { host: "127.0.0.1".into(), port: 3306 },
            account: &Account { user: "backup".into(), password: Password::fixed("s3cret"), socket: None },
            data_dir: Path::new("/var/lib/mysql"),
            scratch: Path::new("/scratch"),
            lock_wait: Duration::from_secs(60),
            threads: 4,
            of_replica: false,
        };
        let command = tool.backup_command(&backup, "--defaults-extra-file=/dev/null".into());
        let told = command.get_envs().find(|(name, _)| *name == VARIABLE).and_then(|(_, value)| value);
        assert!(says(told.unwrap(), NAME), "{told:?}");
    }

    #[test]
    fn what_was_told_stays() {
        for (told, expected) in [
            (None, "glibc.malloc.hugetlb=1"),
            (Some(""), "glibc.malloc.hugetlb=1"),
            (Some("glibc.malloc.arena_max=1"), "glibc.malloc.arena_max=1:glibc.malloc.hugetlb=1"),
            (Some("glibc.malloc.hugetlb=0"), "glibc.malloc.hugetlb=0"),
            (
                Some("glibc.malloc.arena_max=1:glibc.malloc.hugetlb=2"),
                "glibc.malloc.arena_max=1:glibc.malloc.hugetlb=2",
            ),
            (Some("glibc.malloc.hugetlb_pool=3"), "glibc.malloc.hugetlb_pool=3:glibc.malloc.hugetlb=1"),
        ] {
            assert_eq!(with_huge_pages(told.map(OsString::from)), expected);
        }
    }
}

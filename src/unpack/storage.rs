//! Names that storage puts into the root of a volume. They are separate from data, often undeletable, and stay.
//!
//! | name | owner |
//! |---|---|
//! | `lost+found` | ext2 to ext4 (e2fsck(8)) |
//! | `aquota.user`, `aquota.group` | quotas of those (quotacheck(8)) |
//! | `.snapshot` | NetApp ONTAP and its cloud services, Dell PowerScale: snapshots, read-only |
//! | `.snapshots` | Btrfs by snapper, IBM Spectrum Scale |
//! | `.snap` | CephFS |
//! | `.zfs` | ZFS with `snapdir=visible` |
//! | `.glusterfs`, `.trashcan` | GlusterFS |
//! | `.fscrypt` | file systems encrypted by fscrypt(1) |
//! | `.Trash`, `.Trash-0` | desktops and file managers (freedesktop.org, trash specification) |

const NAMES: [&str; 11] = [
    "lost+found",
    "aquota.user",
    "aquota.group",
    ".snapshot",
    ".snapshots",
    ".snap",
    ".zfs",
    ".glusterfs",
    ".trashcan",
    ".fscrypt",
    ".Trash",
];

const TRASH_OF_USER: &str = ".Trash-";

/// Whether storage uses this name in a volume's root.
pub fn is_storages_own(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    NAMES.contains(&name) || name.strip_prefix(TRASH_OF_USER).is_some_and(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_complete_names_match() {
        for name in ["lost+found", ".snapshot", ".Trash-0", ".Trash-1000", ".zfs"] {
            assert!(is_storages_own(name), "{name}");
        }
        for name in ["snapshot", ".snapshot2", ".Trash-", ".Trash-x", ".hidden", "mysql", "ibdata1"] {
            assert!(!is_storages_own(name), "{name}");
        }
    }
}

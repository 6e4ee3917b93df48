//! Names that a backup must not contain: files that a server or a tool executes, loads, follows or obeys.
//!
//! A donor supplies bytes, not options. A stream with such a name is refused, in any directory, and also as the
//! target of a rename. Backup tools send none of them from data that [`crate::clone::donor`] accepts.
//!
//! | name | who would use it, and how |
//! |---|---|
//! | `*.isl`, `*.sym` | InnoDB and MyISAM follow them to files elsewhere |
//! | `*.so`, `*.so.*`, `*.dll`, `*.dylib` | a server or a tool loads them as plugins |
//! | `*.cnf`, `*.ini`, `auto.cnf`, `mysqld-auto.cnf` | options of servers, tools, clients and key components |
//! | `*.my` | a server of MySQL 8 loads the components that its manifest names |
//! | `*.pem`, `*.key` | a server takes its certificate and keys from the data directory |
//! | `*.sql`, `*.sh` | a server runs an init file, an entrypoint a script |
//! | `*.pid` | a script ends the process that it names |
//! | `ddl_log.log`, `ddl_recovery*.log`, `ddl.log` | a starting server carries out their entries |
//! | `tc.log` | a starting server commits and rolls back by it |
//! | names at the top with a leading dot, except `.rocksdb` | a home directory's files: the server's user lives in the data directory |
//! | `lost+found` | it belongs to the file system |
//!
//! Other names are accepted. Some of their files get special treatment:
//!
//! | name | |
//! |---|---|
//! | `backup-my.cnf` at the top | written again from the known settings ([`crate::clone::method::backup_tool`]) |
//! | `xtrabackup_component_keyring_*.cnf` at the top | removed before prepare |
//! | `*.index`, `*.info` of replication, binary and relay logs | removed before the proof ([`crate::datadir::donor_leftovers`]) |
//! | `ib_buffer_pool`, `ib_lru_dump` | taken: numbers of pages to be read |
//! | `xtrabackup_*`, `mariadb_backup_*` | taken: read by us with a bound |
//!
//! XtraBackup 2.3 to 9 sends frm, isl, MYD, MYI, MAD, MAI, MRG, TRG, TRN, ARM, ARZ, CSM, CSV, opt, par, sdi, ibd,
//! ibu and undo files. At the top it sends its own files, the buffer pool's list, and from 8.0 on the last binary
//! log with its index (`datafile_copy_backup` in backup_copy.cc). mariadb-backup sends the same, and Aria's and
//! InnoDB's logs. An isl file stands for data outside the data directory, and the donor refuses those earlier.

use super::storage::is_storages_own;

/// Its settings are parsed and written again. The file itself is unused.
pub const TOOLS_SETTINGS: &str = "backup-my.cnf";

/// Start and end of the settings files of XtraBackup's key components, at the top.
pub const KEY_COMPONENT: (&str, &str) = ("xtrabackup_component_keyring_", ".cnf");

/// RocksDB's directory.
const HIDDEN: &[u8] = b".rocksdb";

const FOLLOWED: &str = "it points to files elsewhere";
const LOADED: &str = "a server would load it";
const OBEYED: &str = "it would be read as options";
const EXECUTED: &str = "it would be executed";

/// Endings of names, regardless of the rest.
const ENDS: [(&str, &str); 13] = [
    (".isl", FOLLOWED),
    (".sym", FOLLOWED),
    (".so", LOADED),
    (".dll", LOADED),
    (".dylib", LOADED),
    (".my", LOADED),
    (".pem", LOADED),
    (".key", LOADED),
    (".cnf", OBEYED),
    (".ini", OBEYED),
    (".pid", OBEYED),
    (".sql", EXECUTED),
    (".sh", EXECUTED),
];

/// Logs of a server's unfinished work.
const UNFINISHED_WORK: [&str; 5] = ["ddl_log.log", "ddl_recovery.log", "ddl_recovery-backup.log", "ddl.log", "tc.log"];

/// Why a member's name is refused. `components` are its parts, from the top down.
pub fn why<'a>(components: impl Iterator<Item = &'a [u8]>) -> Option<&'static str> {
    let components: Vec<&[u8]> = components.collect();
    if let [only] = components[..]
        && is_settings_of_tool(only)
    {
        return None;
    }
    // A directory that contains only directories looks like an empty database to the backup tools. They send this
    // file for it.
    if let [directory, b"db.opt"] = components[..]
        && std::str::from_utf8(directory).is_ok_and(is_storages_own)
    {
        return None;
    }
    if components.first().is_some_and(|first| first.starts_with(b".") && *first != HIDDEN) {
        return Some("names with a leading dot belong to a home directory");
    }
    components.iter().find_map(|name| why_of(name))
}

/// Whether a file at the top holds settings that are removed or written again.
pub fn is_settings_of_tool(name: &[u8]) -> bool {
    let (start, end) = KEY_COMPONENT;
    name == TOOLS_SETTINGS.as_bytes() || (name.starts_with(start.as_bytes()) && name.ends_with(end.as_bytes()))
}

fn why_of(name: &[u8]) -> Option<&'static str> {
    if name.eq_ignore_ascii_case(b"lost+found") {
        return Some("it belongs to the file system");
    }
    if UNFINISHED_WORK.iter().any(|log| name.eq_ignore_ascii_case(log.as_bytes())) {
        return Some("a starting server would carry out its entries");
    }
    if name.windows(4).any(|part| part.eq_ignore_ascii_case(b".so.")) {
        return Some(LOADED);
    }
    let ends_with = |end: &str| {
        let start = name.len().checked_sub(end.len());
        start.is_some_and(|start| name[start..].eq_ignore_ascii_case(end.as_bytes()))
    };
    ENDS.iter().find(|(end, _)| ends_with(end)).map(|(_, why)| *why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_tools_own_files_for_storage_directories_are_accepted() {
        for name in [".snapshot/db.opt", ".Trash-0/db.opt", "lost+found/db.opt"] {
            assert_eq!(why_not(name), None, "{name}");
        }
        for name in [".snapshot/x.ibd", ".Trash-0/files/db.opt", ".hidden/db.opt", ".snapshot"] {
            assert!(why_not(name).is_some(), "{name}");
        }
    }

    fn why_not(name: &str) -> Option<&'static str> {
        why(name.as_bytes().split(|byte| *byte == b'/'))
    }

    #[test]
    fn files_that_are_executed_loaded_followed_or_obeyed_are_refused() {
        for name in [
            "app/t.isl",
            "app/t.ISL",
            "t.sym",
            "evil.so",
            "plugin/evil.so",
            "libevil.so.1",
            "evil.dll",
            "auto.cnf",
            "mysqld-auto.cnf",
            "my.cnf",
            ".my.cnf",
            ".mylogin.cnf",
            "app/x.cnf",
            "app/backup-my.cnf",
            "my.ini",
            "component_keyring_file.cnf",
            "app/xtrabackup_component_keyring_file.cnf",
            "mysqld.my",
            "ca.pem",
            "server-key.pem",
            "private_key.pem",
            "tls.key",
            "init.sql",
            "docker-entrypoint-initdb.d/x.sh",
            "mysqld.pid",
            "ddl_log.log",
            "ddl_recovery.log",
            "ddl_recovery-backup.log",
            "tc.log",
            ".bashrc",
            ".ssh/authorized_keys",
            ".config/x",
            "lost+found/x",
            "lost+found",
            "x.so/y",
        ] {
            assert!(why_not(name).is_some(), "{name}");
        }
    }

    #[test]
    fn files_from_the_tools_are_accepted() {
        for name in [
            "ibdata1",
            "sys2",
            "undo001",
            "undo_001",
            "undo3.ibu",
            "mysql.ibd",
            "ib_logfile0",
            "xtrabackup_logfile",
            "ib_buffer_pool",
            "ib_lru_dump",
            "aria_log.00000001",
            "aria_log_control",
            "backup-my.cnf",
            "xtrabackup_info",
            "mariadb_backup_checkpoints",
            "xtrabackup_component_keyring_file.cnf",
            "xtrabackup_component_keyring_kmip.cnf",
            "xtrabackup_keys",
            "mysql-bin.000003",
            "mysql-bin.index",
            "relay-log.info",
            "master.info",
            "multi-master.info",
            "mysql_upgrade_info",
            "app/db.opt",
            "app/t.frm",
            "app/t.ibd",
            "app/t.MYD",
            "app/t.MYI",
            "app/t.MAD",
            "app/t.MAI",
            "app/t.MRG",
            "app/t.TRG",
            "app/t.TRN",
            "app/t.ARZ",
            "app/t.ARM",
            "app/t.CSM",
            "app/t.CSV",
            "app/t.par",
            "mysql/general_log_213.sdi",
            "app/t.ibd.new",
            "app/t.ibd.del",
            ".rocksdb/000012.sst",
            ".rocksdb/CURRENT",
            "#rocksdb/OPTIONS-000005",
            "app/t@002dcnf.ibd",
            "app/so.ibd",
            "app/FTS_0000000000000015_CONFIG.ibd",
            "app/t#P#p0.ibd",
            "_app_t_main_1_2_1d.tokudb",
            "tokudb.environment",
            "log000000000000.tokulog27",
        ] {
            assert_eq!(why_not(name), None, "{name}");
        }
    }
}

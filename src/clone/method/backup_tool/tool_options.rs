//! What stands in the options files that the tool would read by itself, and does not count: ours takes their place.
//!
//! Only names are told, out of a fixed list: a value may be a password, and what looks like an option in the tool's answer may
//! be a part of one. The tool is asked, for only it knows which files it would read: `--print-defaults` prints the options
//! of its server's groups, and with `--defaults-group` those of one group more (seen with mariadb-backup 10.11).

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::family::Family;
use crate::sys::child;

/// Options that only the tools have: they change what is copied, or how. What begins so is meant.
const OF_TOOLS: [&str; 39] = [
    "backup-lock",
    "binlog-info",
    "check-privileges",
    "close-files",
    "compress",
    "databases",
    "encrypt",
    "estimate-memory",
    "export",
    "extended-validation",
    "extra-lsndir",
    "fifo",
    "ftwrl",
    "galera-info",
    "history",
    "incremental",
    "keyring-file-data",
    "kill-long",
    "kill-wait",
    "lock-ddl",
    "log-copy-interval",
    "log-innodb-page-corruption",
    "no-backup-locks",
    "no-lock",
    "no-server-version-check",
    "page-tracking",
    "parallel",
    "prepare",
    "redo-log-arch",
    "register-redo-log-consumer",
    "rocksdb-backup",
    "rsync",
    "safe-slave-backup",
    "slave-info",
    "stream",
    "tables",
    "target-dir",
    "throttle",
    "use-memory",
];

/// Options of MariaDB's servers that look alike.
const OF_SERVERS: [&str; 3] = ["encrypt-binlog", "encrypt-tmp-disk-tables", "encrypt-tmp-files"];

/// Options of a connection. Servers have some of the same name in their own groups.
const OF_CONNECTIONS: [&str; 9] =
    ["default-auth", "host", "password", "plugin-dir", "port", "protocol", "socket", "ssl", "user"];

/// The groups that the tool reads beside its server's. For mariadb-backup they were tried one by one; XtraBackup's are in
/// its source (`xb_client_default_groups`), and `[xtrabackup]` is among what it prints unasked.
fn groups(family: Family) -> &'static [&'static str] {
    match family {
        Family::Percona => &["client"],
        Family::Mariadb => &["client", "client-mariadb", "xtrabackup", "mariabackup", "mariadb-backup"],
    }
}

/// The options that do not count, each with its group: `[client] user`.
pub fn uncounted(program: &Path, family: Family) -> Result<Vec<String>> {
    let groups = groups(family);
    let mut questions = vec![question(program, None)];
    questions.extend(groups.iter().map(|group| question(program, Some(group))));
    let mut answers = Vec::new();
    for output in child::outputs(&mut questions).with_context(|| format!("starting {}", program.display()))? {
        ensure!(output.status.success(), "{} can't read its options files", program.display());
        answers.push(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let Some((unasked, asked)) = answers.split_first() else { return Ok(Vec::new()) };
    let mut found = named("server's groups", names(unasked, &OF_TOOLS));
    for (group, answer) in groups.iter().zip(asked) {
        let mut of_group = more_than(names(answer, &OF_TOOLS), names(unasked, &OF_TOOLS));
        of_group.extend(more_than(names(answer, &OF_CONNECTIONS), names(unasked, &OF_CONNECTIONS)));
        found.extend(named(group, of_group));
    }
    Ok(found)
}

fn question(program: &Path, group: Option<&str>) -> Command {
    let mut command = Command::new(program);
    command.arg("--print-defaults").args(group.map(|group| format!("--defaults-group={group}")));
    command
}

fn named(group: &str, names: BTreeMap<&str, usize>) -> Vec<String> {
    names.into_keys().map(|name| format!("[{group}] {name}")).collect()
}

/// How often each option of a list is in an answer.
fn names(printed: &str, known: &[&'static str]) -> BTreeMap<&'static str, usize> {
    let mut found = BTreeMap::new();
    for argument in printed.split_ascii_whitespace().filter_map(|word| word.strip_prefix("--")) {
        let name = argument.split('=').next().unwrap_or_default().replace('_', "-");
        let plain = ["loose-", "skip-", "disable-", "enable-"].iter().find_map(|prefix| name.strip_prefix(prefix));
        let plain = plain.unwrap_or(&name);
        let is_it =
            |known: &&&str| plain.strip_prefix(**known).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
        if !OF_SERVERS.contains(&plain)
            && let Some(known) = known.iter().find(is_it)
        {
            *found.entry(*known).or_default() += 1;
        }
    }
    found
}

fn more_than(
    mut all: BTreeMap<&'static str, usize>,
    some: BTreeMap<&'static str, usize>,
) -> BTreeMap<&'static str, usize> {
    all.retain(|name, count| *count > some.get(name).copied().unwrap_or_default());
    all
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_names_of_the_list_are_told() {
        let printed = "xtrabackup would have been started with the following arguments:\n--datadir=/x --loose_compress=lz4 \
                       --compress-threads=4 --tables_exclude=^a --password=s --ecret --skip-lock-ddl --tablespaces=3 --encrypt_binlog=1 \n";
        let found: Vec<&str> = names(printed, &OF_TOOLS).into_keys().collect();
        assert_eq!(found, ["compress", "lock-ddl", "tables"]);
        let found: Vec<&str> = names(printed, &OF_CONNECTIONS).into_keys().collect();
        assert_eq!(found, ["password"]);
    }

    /// The real tool, which reads one file of ours in the place of its own.
    fn asked(options: &str) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let (file, program) = (directory.path().join("my.cnf"), directory.path().join("mariadb-backup"));
        std::fs::write(&file, options).unwrap();
        let script = format!("#!/bin/sh\nexec mariadb-backup --defaults-file={} \"$@\"\n", file.display());
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        uncounted(&program, Family::Mariadb).unwrap()
    }

    #[test]
    fn the_real_mariadb_backup_is_asked_for_all_its_groups() {
        assert_eq!(asked("[mysqld]\nport=3306\nuser=mysql\nsocket=/x\nssl-ca=/y\n"), [""; 0]);
        for group in ["client", "client-mariadb", "xtrabackup", "mariabackup", "mariadb-backup"] {
            let options =
                format!("[mysqld]\nuser=mysql\n[{group}]\nuser=u\npassword=\"a --tables b\"\ndatabases_exclude=x\n");
            let found = asked(&options);
            assert!(found.contains(&format!("[{group}] databases")), "{found:?}");
            assert!(found.contains(&format!("[{group}] password")), "{found:?}");
            assert!(found.contains(&format!("[{group}] user")), "{found:?}");
        }
        for group in ["mysqld", "mariadb", "client-server"] {
            assert_eq!(asked(&format!("[{group}]\ncompress\n")), ["[server's groups] compress"], "{group}");
        }
    }
}

//! Decides which of our environment variables a tool or server inherits.
//!
//! | variable | why |
//! |---|---|
//! | `MYSQL…`, `MARIADB…`, `XTRABACKUP…`, `PERCONA…` | removed: they name options files (`MYSQL_HOME`), groups of them (`MYSQL_GROUP_SUFFIX`, `MARIADB_GROUP_SUFFIX`), accounts and servers (`MYSQL_PWD`, `MYSQL_HOST`, `MYSQL_UNIX_PORT`), and hold our secrets and those of images |
//! | `MYSQL_TEST_LOGIN_FILE` | set to a file that cannot exist: XtraBackup takes user and password from `~/.mylogin.cnf` even with an explicit options file, and 8.0 has no `--no-login-paths` (MySQL's `my_default_get_login_file`) |
//! | `UMASK`, `UMASK_DIR` | removed: servers and tools derive file modes from them (`my_init`) |
//! | `TMPDIR` | removed: each child has a `--tmpdir` of ours |
//! | `HOME` | kept: key plugins find credentials below it; an explicit options file turns off options files there |
//! | `LD_PRELOAD`, `LD_LIBRARY_PATH`, `PATH` | kept: an image sets them for its programs to work |
//! | `TZ`, `LANG`, proxies and all others | kept: they leave the tools' copies unchanged |
//!
//! A program that is only asked for its version or its options gets everything except secrets: variables with
//! `PASSWORD`, `SECRET`, `TOKEN` or `CREDENTIAL` in the name, and `MYSQL_PWD`. Other programs need such variables
//! for key plugins.

use std::ffi::OsStr;
use std::process::Command;

const WITHHELD: [&str; 3] = ["UMASK", "UMASK_DIR", "TMPDIR"];
const WITHHELD_STARTS: [&str; 4] = ["MYSQL", "MARIADB", "XTRABACKUP", "PERCONA"];

/// The prefix of our own variables, which may hold secrets.
const OURS: &str = "MYSQLSET_";

/// Parts of variable names that mark secrets.
const SECRETS: [&str; 5] = ["PASSWORD", "SECRET", "TOKEN", "CREDENTIAL", "MYSQL_PWD"];

const LOGIN_FILE: (&str, &str) = ("MYSQL_TEST_LOGIN_FILE", "/dev/null/no-login-file");

/// Removes variables from a child's environment that would change its behaviour or reveal our secrets.
pub fn withhold_from(command: &mut Command) {
    for (variable, _) in std::env::vars_os().filter(|(variable, _)| is_withheld(variable)) {
        command.env_remove(variable);
    }
    command.env(LOGIN_FILE.0, LOGIN_FILE.1);
}

/// Removes our own variables and all secrets. For a query whose answer has to be the same as when the program
/// runs by itself.
pub fn withhold_secrets_from(command: &mut Command) {
    for (variable, _) in std::env::vars_os().filter(|(variable, _)| is_secret(variable)) {
        command.env_remove(variable);
    }
}

fn is_secret(variable: &OsStr) -> bool {
    let name = variable.to_string_lossy().to_uppercase();
    name.starts_with(OURS) || SECRETS.iter().any(|word| name.contains(word))
}

fn is_withheld(variable: &OsStr) -> bool {
    let name = variable.to_string_lossy();
    WITHHELD.contains(&&*name) || WITHHELD_STARTS.iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_accounts_and_secrets_are_withheld() {
        for (name, expected) in [
            ("MYSQLSET_CLONE_SECRET", true),
            ("MYSQL_HOME", true),
            ("MYSQL_GROUP_SUFFIX", true),
            ("MARIADB_GROUP_SUFFIX", true),
            ("MARIADB_ROOT_PASSWORD", true),
            ("MYSQL_PWD", true),
            ("UMASK", true),
            ("TMPDIR", true),
            ("PATH", false),
            ("HOME", false),
            ("TZ", false),
            ("LD_PRELOAD", false),
            ("GLIBC_TUNABLES", false),
        ] {
            assert_eq!(is_withheld(OsStr::new(name)), expected, "{name}");
        }
    }

    /// The image's own options may change a program's answer.
    #[test]
    fn a_queried_program_gets_no_secrets() {
        for (name, expected) in [
            ("MYSQLSET_CLONE_SECRET", true),
            ("MYSQLSET_DATA_DIR", true),
            ("MARIADB_ROOT_PASSWORD", true),
            ("MYSQL_PWD", true),
            ("AWS_SECRET_ACCESS_KEY", true),
            ("VAULT_TOKEN", true),
            ("MYSQL_HOME", false),
            ("PWD", false),
            ("PATH", false),
        ] {
            assert_eq!(is_secret(OsStr::new(name)), expected, "{name}");
        }
    }

    #[test]
    fn no_login_file_is_read() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $MYSQL_TEST_LOGIN_FILE; test ! -e $MYSQL_TEST_LOGIN_FILE"]);
        withhold_from(&mut command);
        let output = command.output().unwrap();
        assert!(output.status.success() && output.stdout.starts_with(b"/dev/null/"));
    }
}

//! What a tool or server of ours gets of our environment.
//!
//! | variable | why |
//! |---|---|
//! | `MYSQL…`, `MARIADB…`, `XTRABACKUP…`, `PERCONA…` | left out: they name options files (`MYSQL_HOME`), groups of them (`MYSQL_GROUP_SUFFIX`, `MARIADB_GROUP_SUFFIX`), accounts and servers (`MYSQL_PWD`, `MYSQL_HOST`, `MYSQL_UNIX_PORT`), and hold our secrets and those of images |
//! | `MYSQL_TEST_LOGIN_FILE` | set to a file that cannot exist: XtraBackup takes user and password from `~/.mylogin.cnf` whatever options file it is given, and 8.0 has no `--no-login-paths` (MySQL's `my_default_get_login_file`) |
//! | `UMASK`, `UMASK_DIR` | left out: servers and tools give their files modes by them (`my_init`) |
//! | `TMPDIR` | left out: each child has a `--tmpdir` of ours |
//! | `HOME` | stays: plugins for keys find credentials below it; options files are not read there where one of ours is named |
//! | `LD_PRELOAD`, `LD_LIBRARY_PATH`, `PATH` | stay: an image sets them for its programs to work |
//! | `TZ`, `LANG`, proxies and all others | stay: no tool copies anything else because of them |
//!
//! A program that is only asked what it is, or what its options are, gets all but secrets: none with `PASSWORD`, `SECRET`,
//! `TOKEN` or `CREDENTIAL` in its name, nor `MYSQL_PWD`. Others need those of plugins for keys.

use std::ffi::OsStr;
use std::process::Command;

const WITHHELD: [&str; 3] = ["UMASK", "UMASK_DIR", "TMPDIR"];
const WITHHELD_STARTS: [&str; 4] = ["MYSQL", "MARIADB", "XTRABACKUP", "PERCONA"];

/// Our own, which may hold secrets.
const OURS: &str = "MYSQLSET_";

/// What is in the names of variables that hold secrets.
const SECRETS: [&str; 5] = ["PASSWORD", "SECRET", "TOKEN", "CREDENTIAL", "MYSQL_PWD"];

const LOGIN_FILE: (&str, &str) = ("MYSQL_TEST_LOGIN_FILE", "/dev/null/no-login-file");

/// Leaves out of a child's environment what would change what it does, or tell it our secrets.
pub fn withhold_from(command: &mut Command) {
    for (variable, _) in std::env::vars_os().filter(|(variable, _)| is_withheld(variable)) {
        command.env_remove(variable);
    }
    command.env(LOGIN_FILE.0, LOGIN_FILE.1);
}

/// Leaves out what is ours alone, and all that is secret: of a question to a program whose answer is to be what it would be
/// without us.
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
    fn what_names_options_accounts_and_secrets_stays_here() {
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

    /// Options of the image's own may matter to what a program answers.
    #[test]
    fn a_program_that_is_only_asked_gets_no_secrets() {
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

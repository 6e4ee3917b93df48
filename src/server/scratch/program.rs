//! The server program that is installed here.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};
use tracing::debug;

use crate::model::exit::Reason;
use crate::server::dialect::Dialect;
use crate::sys::child;
use crate::sys::limits::Descriptors;

/// The names of the program, the preferred first. MariaDB's packages link `mysqld` to `mariadbd`, its images may not.
const NAMES: [&str; 2] = ["mariadbd", "mysqld"];

/// The name of MySQL's, which alone has the CLONE plugin.
const MYSQLS_NAME: &str = "mysqld";

/// An installed server.
#[derive(Clone, Debug)]
pub struct Program {
    pub(super) path: PathBuf,
    pub version: String,
    pub dialect: Dialect,
}

impl Program {
    /// Looks for one in `PATH`.
    pub fn find() -> Result<Option<Program>> {
        Program::find_in(&path())
    }

    /// Looks for one in `PATH` that has the CLONE plugin.
    pub fn find_with_clone_plugin() -> Result<Option<Program>> {
        Program::find_with_clone_plugin_in(&path())
    }

    /// The same in directories that are separated as in `PATH`.
    fn find_in(path: &OsStr) -> Result<Option<Program>> {
        NAMES.iter().find_map(|name| child::in_path(path, name)).map(|path| Program::ask(&path)).transpose()
    }

    fn find_with_clone_plugin_in(path: &OsStr) -> Result<Option<Program>> {
        let Some(path) = child::in_path(path, MYSQLS_NAME) else { return Ok(None) };
        // MariaDB's takes its time to tell its version.
        if Dialect::of_program(&path).is_some_and(|dialect| !dialect.has_clone_plugin()) {
            return Ok(None);
        }
        let program = Program::ask(&path)?;
        Ok(program.dialect.has_clone_plugin().then_some(program))
    }

    fn ask(path: &Path) -> Result<Program> {
        let output = child::output(question(path).arg("--version"))
            .with_context(|| format!("running {} --version", path.display()))?;
        let Some(version) = version_in(&String::from_utf8_lossy(&output.stdout)) else {
            bail!("{} --version: no version in its output", path.display());
        };
        debug!(program = %path.display(), version, "server");
        Ok(Program { path: path.to_owned(), dialect: Dialect::of(&version)?, version })
    }

    /// The name that it is installed under.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// The program, to be asked something: with few descriptors, for MySQL 5.7 clears memory for each that its limit allows.
pub(super) fn question(path: &Path) -> Command {
    let mut command = Command::new(path);
    if let Ok(descriptors) = Descriptors::for_server() {
        descriptors.give_to(&mut command);
    }
    command
}

/// The answer to such a question. A program that gives none in time is no server that could be started either.
pub(super) fn answer(command: &mut Command, asking: &str, blame: Reason) -> Result<Output> {
    match child::output(command) {
        Err(error) if error.kind() == ErrorKind::TimedOut => Err(blame.error(format!("{asking}: {error}"))),
        answered => answered.with_context(|| asking.to_owned()),
    }
}

fn path() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap_or_default()
}

/// `mysqld  Ver 8.4.3 for Linux on x86_64 (MySQL Community Server - GPL)` → `8.4.3`.
fn version_in(text: &str) -> Option<String> {
    let mut words = text.split_whitespace().skip_while(|word| *word != "Ver");
    words.nth(1).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn install(path: &Path, script: &str) {
        std::fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_server_that_is_mariadbs_by_its_name_is_not_run_for_the_clone_plugin() {
        let directory = tempfile::tempdir().unwrap();
        let [linked, link] = NAMES.map(|name| directory.path().join(name));
        install(&linked, "exit 1");
        symlink(&linked, &link).unwrap();
        let find = || Program::find_with_clone_plugin_in(directory.path().as_os_str());
        assert!(find().unwrap().is_none());
        std::fs::rename(&linked, &link).unwrap();
        assert!(find().unwrap_err().to_string().contains("mysqld --version"));
    }

    #[test]
    fn either_familys_server_is_found() {
        for (name, version, mariadb) in [
            ("mariadbd", "10.11.19-MariaDB-0+deb12u1", true),
            ("mysqld", "9.7.4-2", false),
            ("mysqld", "11.8.9-MariaDB", true),
        ] {
            let directory = tempfile::tempdir().unwrap();
            assert!(Program::find_in(directory.path().as_os_str()).unwrap().is_none());
            install(&directory.path().join(name), &format!("echo '{name}  Ver {version} for Linux'"));
            let found = Program::find_in(directory.path().as_os_str()).unwrap().unwrap();
            assert_eq!((found.name().as_str(), found.version.as_str()), (name, version));
            assert_eq!(found.dialect == Dialect::Mariadb, mariadb);
        }
    }

    #[test]
    fn versions_as_the_servers_say_them() {
        for (text, version) in [
            ("/usr/sbin/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))", "9.7.4-2"),
            (
                "/usr/sbin/mysqld  Ver 8.0.36-28 for Linux on x86_64 (Percona Server (GPL), Release 28, Revision 47601f19)",
                "8.0.36-28",
            ),
            (
                "mysqld  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)",
                "10.11.19-MariaDB-0+deb12u1",
            ),
        ] {
            assert_eq!(version_in(text).as_deref(), Some(version));
        }
        assert_eq!(version_in("nonsense"), None);
    }
}

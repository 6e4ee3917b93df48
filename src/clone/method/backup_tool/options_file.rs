//! The only options file that the backup tool reads. It exists in memory only.
//!
//! With `--defaults-file`, which must be the first argument, the tools read no other file: none of /etc, `$MYSQL_HOME`, the
//! home directory or a directory that one of those includes (`my_search_option_files` in mysys/my_default.c of MariaDB and
//! MySQL; seen with mariadb-backup 10.11, which opens this one for each of its three sets of groups). Where the login file of
//! MySQL is, is told by the environment ([`crate::sys::environment`]).
//!
//! A password as an argument would be seen in the list of processes, a file on disk could outlive a crash. The tool opens
//! `/proc/self/fd/N`, which only its own user can.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;

use anyhow::{Result, ensure};
use rustix::fs::{MemfdFlags, Mode, fchmod, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};

use crate::sys::secret::Secret;

/// The text of an options file, with the password in it.
#[derive(Default)]
pub struct Options(Secret);

impl Options {
    /// What follows is of this group.
    pub fn group(&mut self, name: &str) {
        self.add(&["[", name, "]\n"]);
    }

    /// An option, its value quoted and escaped as the servers' options files want it.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        ensure!(
            !value.contains(['\n', '\r', '\0']),
            "a value of {name} with a line end can't be passed to the backup tool"
        );
        let escaped =
            Secret::joined(&[value]).escaped(|character| matches!(character, '\\' | '"' | '\'').then_some("\\"));
        self.add(&[name, "=\"", escaped.reveal(), "\"\n"]);
        Ok(())
    }

    /// Never grows in its place, where it would leave its shorter copy behind.
    fn add(&mut self, pieces: &[&str]) {
        self.0 = Secret::joined(&[&[self.0.reveal()], pieces].concat());
    }
}

/// Lives as long as it takes to start the tool, which inherits it.
pub struct OptionsFile(File);

impl OptionsFile {
    /// Writes the options into memory.
    pub fn new(options: &Options) -> Result<OptionsFile> {
        let memory = memfd_create("mysqlset-options", MemfdFlags::CLOEXEC)?;
        // The tools ignore an options file that everyone may write.
        fchmod(&memory, Mode::RUSR)?;
        let mut file = File::from(memory);
        file.write_all(options.0.reveal().as_bytes())?;
        fcntl_setfd(&file, FdFlags::empty())?;
        Ok(OptionsFile(file))
    }

    /// The argument that names the file; it must be the tool's first.
    pub fn argument(&self) -> OsString {
        format!("--defaults-file=/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_can_read_it_and_nothing_is_left() {
        let mut options = Options::default();
        options.group("client");
        options.set("user", "backup").unwrap();
        options.set("password", "ge\"h#e'i\\m ").unwrap();
        options.group("mysqld");
        options.set("loose_aria_log_dir_path", "/a path/x").unwrap();
        let file = OptionsFile::new(&options).unwrap();
        let argument = file.argument().into_string().unwrap();
        let path = argument.strip_prefix("--defaults-file=").unwrap();
        let output = std::process::Command::new("cat").arg(path).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(
            text,
            "[client]\nuser=\"backup\"\npassword=\"ge\\\"h#e\\'i\\\\m \"\n[mysqld]\nloose_aria_log_dir_path=\"/a path/x\"\n"
        );
    }

    #[test]
    fn line_ends_are_refused_without_showing_the_value() {
        for value in ["two\nlines", "two\rlines", "two\0lines"] {
            let error = Options::default().set("password", value).unwrap_err();
            assert!(!format!("{error:#}").contains("two"), "{error:#}");
        }
    }
}

//! The only option file that the backup tool reads. It exists in memory only.
//!
//! With `--defaults-file`, which must be the first argument, the tools read this one file. They skip /etc,
//! `$MYSQL_HOME`, the home directory and directories that one of those includes (`my_search_option_files` in
//! mysys/my_default.c of MariaDB and MySQL). mariadb-backup 10.11 was seen to open it for each of its three sets of
//! groups. The environment names MySQL's login file ([`crate::sys::environment`]).
//!
//! A password as an argument would show in the list of processes, and a file on disk could outlive a crash. The tool
//! opens `/proc/self/fd/N`, which only its own user can.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;

use anyhow::{Result, ensure};
use rustix::fs::{MemfdFlags, Mode, fchmod, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};

use crate::sys::secret::Secret;

/// The text of an option file, including the password.
#[derive(Default)]
pub struct Options(Secret);

impl Options {
    /// Starts a group.
    pub fn group(&mut self, name: &str) {
        self.add(&["[", name, "]\n"]);
    }

    /// Adds an option, with its value quoted and escaped as in the servers' option files.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        ensure!(
            !value.contains(['\n', '\r', '\0']),
            "cannot pass a value of {name} that contains a line end to the backup tool"
        );
        let escaped =
            Secret::joined(&[value]).escaped(|character| matches!(character, '\\' | '"' | '\'').then_some("\\"));
        self.add(&[name, "=\"", escaped.reveal(), "\"\n"]);
        Ok(())
    }

    /// Always makes a new buffer: one that grew would leave a shorter copy of the secret behind.
    fn add(&mut self, pieces: &[&str]) {
        self.0 = Secret::joined(&[&[self.0.reveal()], pieces].concat());
    }
}

/// Lives until the tool, which inherits the file, has started.
pub struct OptionsFile(File);

impl OptionsFile {
    /// Writes the options into memory.
    pub fn new(options: &Options) -> Result<OptionsFile> {
        let memory = memfd_create("mysqlset-options", MemfdFlags::CLOEXEC)?;
        // The tools ignore a world-writable option file.
        fchmod(&memory, Mode::RUSR)?;
        let mut file = File::from(memory);
        file.write_all(options.0.reveal().as_bytes())?;
        fcntl_setfd(&file, FdFlags::empty())?;
        Ok(OptionsFile(file))
    }

    /// The argument that names the file. It must be the tool's first.
    pub fn argument(&self) -> OsString {
        format!("--defaults-file=/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_can_read_the_options() {
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
    fn line_ends_are_refused_and_the_value_stays_hidden() {
        for value in ["two\nlines", "two\rlines", "two\0lines"] {
            let error = Options::default().set("password", value).unwrap_err();
            assert!(!format!("{error:#}").contains("two"), "{error:#}");
        }
    }
}

//! The backup tool's user and password, given in an options file that exists in memory only.
//!
//! An argument would be seen in the list of processes, a file on disk could outlive a crash. The tool opens
//! `/proc/self/fd/N`, which only its own user can.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;

use anyhow::{Result, ensure};
use rustix::fs::{MemfdFlags, Mode, fchmod, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};

use crate::settings::Account;

/// Lives as long as it takes to start the tool, which inherits it.
pub struct OptionsFile(File);

impl OptionsFile {
    /// Writes the account into memory.
    pub fn new(account: &Account) -> Result<OptionsFile> {
        let text = options(account)?;
        let memory = memfd_create("mysqlset-options", MemfdFlags::CLOEXEC)?;
        // The tools ignore an options file that everyone may write.
        fchmod(&memory, Mode::RUSR)?;
        let mut file = File::from(memory);
        file.write_all(text.as_bytes())?;
        fcntl_setfd(&file, FdFlags::empty())?;
        Ok(OptionsFile(file))
    }

    /// The argument that names the file; it must be the tool's first.
    pub fn argument(&self) -> OsString {
        format!("--defaults-extra-file=/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }
}

/// Both tools read `[client]`. Quotes and backslashes are escaped as the servers' option files want it.
fn options(account: &Account) -> Result<String> {
    let quoted = |text: &str| -> Result<String> {
        ensure!(!text.contains(['\n', '\r', '\0']), "a user name or password with a line end can't be passed on");
        Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\'', "\\'")))
    };
    Ok(format!(
        "[client]\nuser={}\npassword={}\n",
        quoted(&account.user)?,
        quoted(account.password.current().reveal())?
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Password;

    fn account(password: &str) -> Account {
        Account { user: "backup".into(), password: Password::fixed(password), socket: None }
    }

    #[test]
    fn a_child_can_read_it_and_nothing_is_left() {
        let options = OptionsFile::new(&account("ge\"h#e'i\\m ")).unwrap();
        let argument = options.argument().into_string().unwrap();
        let path = argument.strip_prefix("--defaults-extra-file=").unwrap();
        let output = std::process::Command::new("cat").arg(path).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text, "[client]\nuser=\"backup\"\npassword=\"ge\\\"h#e\\'i\\\\m \"\n");
    }

    #[test]
    fn line_ends_are_refused_without_showing_the_password() {
        let error = OptionsFile::new(&account("two\nlines")).err().unwrap();
        assert!(!format!("{error:#}").contains("two"), "{error:#}");
    }
}

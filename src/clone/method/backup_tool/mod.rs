//! XtraBackup and mariadb-backup: which one is here, how it is run, what it leaves.
//!
//! The tools' options and behaviour are those of XtraBackup 2.3 … 9 and mariadb-backup 10.6 … 11.8. Nothing outside
//! this module knows which tool it is dealing with.

mod backup;
mod backup_options;
pub mod donor;
mod family;
mod huge_pages;
mod lines;
mod options_file;
mod prepare;
pub mod recipient;
pub mod server_options;
mod tool_options;
mod version;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use tracing::debug;

use crate::model::exit::Reason;
use crate::model::position::Writer;
use crate::sys::child::{self, Running};
use crate::unpack::Format;
pub use backup::Backup;
use family::Family;
pub use lines::{BackupLines, Fault, Words};
use options_file::OptionsFile;
pub use prepare::{Attempt, Prepared, Proof, prepare};
use version::Version;

/// The tools by the names that they are installed under, the preferred first.
const PROGRAMS: [(&str, Family); 3] =
    [("xtrabackup", Family::Percona), ("mariadb-backup", Family::Mariadb), ("mariabackup", Family::Mariadb)];

/// An installed backup tool.
#[derive(Clone, Debug)]
pub struct BackupTool {
    program: PathBuf,
    family: Family,
    version: Version,
}

impl fmt::Display for BackupTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.program.file_name().unwrap_or_default().to_string_lossy();
        write!(f, "{name} {}", self.version)
    }
}

impl BackupTool {
    /// Looks for a tool in `PATH` and asks it for its version.
    pub fn find() -> Result<BackupTool> {
        BackupTool::find_in(&std::env::var_os("PATH").unwrap_or_default())
    }

    /// The same in directories that are separated as in `PATH`.
    pub fn find_in(path: &OsStr) -> Result<BackupTool> {
        for (name, family) in PROGRAMS {
            if let Some(program) = child::in_path(path, name) {
                let version = version(&program, family)?;
                debug!(program = %program.display(), %version, "backup tool");
                return Ok(BackupTool { program, family, version });
            }
        }
        let names = PROGRAMS.map(|(name, _)| name).join(", ");
        Err(Reason::NoBackupTool.error(format!(
            "no backup tool in PATH (looked for {names}): use an image that has the one for your server"
        )))
    }

    /// What is known of how this version says things.
    pub fn words(&self) -> Words {
        lines::words(self.family, &self.version)
    }

    /// The series that this version is of, within which backups can be prepared by each other: `10.11`.
    pub fn series(&self) -> String {
        self.version.series()
    }

    /// Why this tool can't copy a server of this version, with both; `None` where it can.
    pub fn misfit(&self, server: &str) -> Option<String> {
        let why = self.version.misfit(self.family, server)?;
        Some(format!("{self} does not fit the server {server}: {why}"))
    }

    /// Why this tool would not say where a replica's source is; `None` where it would. `variables` are the server's, by
    /// their names in small letters.
    pub fn why_without_source(&self, variables: &BTreeMap<String, String>) -> Option<String> {
        backup_options::why_without_source(self.family, &self.version, variables)
    }

    /// The container format that this tool writes.
    pub fn format(&self) -> Format {
        match self.family {
            Family::Percona => Format::XbstreamPercona,
            Family::Mariadb => Format::XbstreamMariaDb,
        }
    }

    /// The container formats whose backups this tool can prepare: those that its own series writes.
    pub fn formats(&self) -> &'static [Format] {
        match self.family {
            Family::Percona if self.version.is_from([8, 0, 0]) => &[Format::XbstreamPercona],
            Family::Percona => &[Format::XbstreamPercona, Format::Tar],
            Family::Mariadb => &[Format::XbstreamMariaDb],
        }
    }

    /// Options in the files that this tool would read by itself, and does not: `[client] user`.
    pub fn uncounted_options(&self) -> Result<Vec<String>> {
        tool_options::uncounted(&self.program, self.family)
    }

    /// Whether Aria's tables must be flushed before this tool copies them. The server's own recovery, on which a copy
    /// depends as a killed server does, skips rows that row events brought after the first of them had filled an
    /// empty table in bulk, until the table is flushed (seen with MariaDB 10.11.19: 121 of 300 rows were left).
    pub fn loses_unflushed_aria(&self) -> bool {
        self.family == Family::Mariadb
    }

    /// Starts a backup whose stream is the child's standard output.
    pub fn start_backup(&self, backup: &Backup<'_>) -> Result<Running<BackupLines>> {
        let options = backup_options::in_file(self.family, backup)?;
        let options = OptionsFile::new(&options).context("passing the backup tool its options")?;
        let mut command = self.backup_command(backup, options.argument());
        let lines = BackupLines::of(self.family);
        let running = Running::examined(&mut command, &self.name(), Stdio::piped(), lines)
            .with_context(|| format!("starting {}", self.program.display()))?;
        Ok(running.below(crate::sys::memory::ceiling()))
    }

    fn backup_command(&self, backup: &Backup<'_>, file: OsString) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(file).args(backup_options::of(self.family, &self.version, backup)).current_dir(backup.scratch);
        backup.descriptors.give_to(&mut command);
        if huge_pages::pay(backup.mean_file_bytes) {
            huge_pages::prefer(&mut command);
        }
        command
    }

    fn name(&self) -> String {
        self.program.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// Which family's tool wrote a stream of this format.
pub fn writer_of(format: Format) -> Writer {
    match format {
        Format::XbstreamMariaDb => Writer::MariadbBackup,
        Format::XbstreamPercona | Format::Tar => Writer::XtraBackup,
    }
}

fn version(program: &Path, family: Family) -> Result<Version> {
    let output = child::output(Command::new(program).arg("--version"))
        .with_context(|| format!("asking {} for its version", program.display()))
        .map_err(|error| Reason::NoBackupTool.because(error))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    Version::parse(&text, family).ok_or_else(|| {
        Reason::NoBackupTool.error(format!("{} --version says {:?}: no version in it", program.display(), text.trim()))
    })
}

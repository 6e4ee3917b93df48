//! The backup tools XtraBackup and mariadb-backup: find the installed one, run it, read its results.
//!
//! Covers XtraBackup 2.3 … 9 and mariadb-backup 10.6 … 11.8. Only this module knows which tool is in use.

mod backup;
mod backup_options;
pub mod donor;
mod family;
mod huge_pages;
mod lines;
mod options_file;
mod prepare;
pub mod prepare_memory;
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

/// Names under which the tools are installed, the preferred first.
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
    /// Finds a tool in `PATH` and reads its version.
    pub fn find() -> Result<BackupTool> {
        BackupTool::find_in(&std::env::var_os("PATH").unwrap_or_default())
    }

    /// Finds a tool in directories that are separated as in `PATH`.
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

    /// How much is known about this version's output lines.
    pub fn words(&self) -> Words {
        lines::words(self.family, &self.version)
    }

    /// The tool's series: tools of one series can prepare each other's backups. `10.11`.
    pub fn series(&self) -> String {
        self.version.series()
    }

    /// Why this tool cannot copy a server of this version, with both versions. `None` if it can.
    pub fn misfit(&self, server: &str) -> Option<String> {
        let why = self.version.misfit(self.family, server)?;
        Some(format!("{self} does not fit the server {server}: {why}"))
    }

    /// Why this tool would omit a replica's position at its source. `None` if it records it. `variables` are the
    /// server's, by their names in lower case.
    pub fn why_without_source(&self, variables: &BTreeMap<String, String>) -> Option<String> {
        backup_options::why_without_source(self.family, &self.version, variables)
    }

    /// The stream format that this tool writes.
    pub fn format(&self) -> Format {
        match self.family {
            Family::Percona => Format::XbstreamPercona,
            Family::Mariadb => Format::XbstreamMariaDb,
        }
    }

    /// The stream formats that this tool can prepare: those that its own series writes.
    pub fn formats(&self) -> &'static [Format] {
        match self.family {
            Family::Percona if self.version.is_from([8, 0, 0]) => &[Format::XbstreamPercona],
            Family::Percona => &[Format::XbstreamPercona, Format::Tar],
            Family::Mariadb => &[Format::XbstreamMariaDb],
        }
    }

    /// Options in the tool's own option files, which are ignored for clones: `[client] user`.
    pub fn uncounted_options(&self) -> Result<Vec<String>> {
        tool_options::uncounted(&self.program, self.family)
    }

    /// Whether Aria's tables must be flushed before this tool copies them.
    ///
    /// A copy depends on the server's own recovery, as a killed server does. If a row event fills an empty table in
    /// bulk, that recovery skips the rows of later row events until the table is flushed (seen with MariaDB 10.11.19:
    /// 121 of 300 rows were left).
    pub fn loses_unflushed_aria(&self) -> bool {
        self.family == Family::Mariadb
    }

    /// Starts a backup whose stream is the child's standard output.
    pub fn start_backup(&self, backup: &Backup<'_>) -> Result<Running<BackupLines>> {
        let options = backup_options::in_file(self.family, backup)?;
        let options = OptionsFile::new(&options).context("cannot pass the backup tool its options")?;
        let mut command = self.backup_command(backup, options.argument());
        let lines = BackupLines::of(self.family);
        let running = Running::examined(&mut command, &self.name(), Stdio::piped(), lines)
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        Ok(running.below(crate::sys::container_memory::ceiling()))
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

/// The family of the tool that writes this format.
pub fn writer_of(format: Format) -> Writer {
    match format {
        Format::XbstreamMariaDb => Writer::MariadbBackup,
        Format::XbstreamPercona | Format::Tar => Writer::XtraBackup,
    }
}

fn version(program: &Path, family: Family) -> Result<Version> {
    let output = child::output(Command::new(program).arg("--version"))
        .with_context(|| format!("cannot ask {} for its version", program.display()))
        .map_err(|error| Reason::NoBackupTool.because(error))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    Version::parse(&text, family).ok_or_else(|| {
        Reason::NoBackupTool.error(format!("{} --version printed no version: {:?}", program.display(), text.trim()))
    })
}

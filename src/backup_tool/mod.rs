//! XtraBackup and mariadb-backup: which one is here, how it is run, what it leaves.
//!
//! The tools' options and behaviour are those of XtraBackup 2.3 … 9 and mariadb-backup 10.6 … 11.8. Nothing outside
//! this module knows which tool it is dealing with.

pub mod left_files;
pub mod memory;
mod options_file;
mod own_options;
mod prepare;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use tracing::debug;

use crate::child::{self, Running};
use crate::exit::Reason;
use crate::position::Writer;
use crate::settings::{Account, HostPort};
use crate::unpack::Format;
use options_file::OptionsFile;
pub use own_options::OwnOption;
pub use prepare::{Prepared, prepare};

/// The tools by the names that they are installed under, the preferred first.
const PROGRAMS: [(&str, Family); 3] =
    [("xtrabackup", Family::Percona), ("mariadb-backup", Family::Mariadb), ("mariabackup", Family::Mariadb)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Percona,
    Mariadb,
}

/// An installed backup tool.
#[derive(Clone, Debug)]
pub struct BackupTool {
    program: PathBuf,
    family: Family,
    version: String,
}

impl fmt::Display for BackupTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.program.file_name().unwrap_or_default().to_string_lossy();
        write!(f, "{name} {}", self.version)
    }
}

/// What a backup is taken of, and how.
pub struct Backup<'a> {
    pub server: &'a HostPort,
    pub account: &'a Account,
    pub data_dir: &'a Path,
    /// An empty directory for the tool's temporary files.
    pub scratch: &'a Path,
    /// How long the tool may wait for the server's locks.
    pub lock_wait: Duration,
    /// How many tables it copies at a time.
    pub threads: u16,
}

impl BackupTool {
    /// Looks for a tool in `PATH` and asks it for its version.
    pub fn find() -> Result<BackupTool> {
        for (name, family) in PROGRAMS {
            if let Some(program) = child::in_path(name) {
                let version = version(&program, family)?;
                debug!(program = %program.display(), version, "backup tool");
                return Ok(BackupTool { program, family, version });
            }
        }
        let names = PROGRAMS.map(|(name, _)| name).join(", ");
        Err(Reason::NoBackupTool.error(format!(
            "no backup tool in PATH (looked for {names}): use an image that has the one for your server"
        )))
    }

    /// The series that this version is of, within which backups can be prepared by each other: `10.11`.
    pub fn series(&self) -> String {
        series_of(&self.version)
    }

    /// Whether this tool is made for a server of this version. XtraBackup 2.x copies the series before 5.7 too.
    pub fn fits(&self, server: &str) -> bool {
        let of_mariadb = server.contains("MariaDB");
        let server = series_of(server);
        match self.family {
            Family::Mariadb => of_mariadb && server == self.series(),
            Family::Percona if of_mariadb => false,
            Family::Percona => match self.series().as_str() {
                "2.3" => matches!(server.as_str(), "5.1" | "5.5" | "5.6"),
                "2.4" => matches!(server.as_str(), "5.1" | "5.5" | "5.6" | "5.7"),
                own => own == server,
            },
        }
    }

    /// The container format that this tool writes.
    pub fn format(&self) -> Format {
        match self.family {
            Family::Percona => Format::XbstreamPercona,
            Family::Mariadb => Format::XbstreamMariaDb,
        }
    }

    /// The container formats whose backups this tool can prepare: those of its own family.
    pub fn formats(&self) -> &'static [Format] {
        match self.family {
            Family::Percona => &[Format::XbstreamPercona, Format::Tar],
            Family::Mariadb => &[Format::XbstreamMariaDb],
        }
    }

    /// What the options files that this tool reads make of the members of its stream, where they do: nobody else tells
    /// it to compress.
    pub fn own_option(&self) -> Result<Option<OwnOption>> {
        own_options::own_option(&self.program, self.family, &self.version)
    }

    /// Whether Aria's tables must be flushed before this tool copies them. The server's own recovery, on which a copy
    /// depends as a killed server does, skips rows that row events brought after the first of them had filled an
    /// empty table in bulk, until the table is flushed (seen with MariaDB 10.11.19: 121 of 300 rows were left).
    pub fn loses_unflushed_aria(&self) -> bool {
        self.family == Family::Mariadb
    }

    /// Starts a backup whose stream is the child's standard output.
    pub fn start_backup(&self, backup: &Backup<'_>) -> Result<Running> {
        let options = OptionsFile::new(backup.account).context("passing the backup tool its account")?;
        let mut command = Command::new(&self.program);
        command
            .arg(options.argument())
            .args(["--backup", "--stream=xbstream", "--slave-info"])
            .arg(format!("--host={}", backup.server.host))
            .arg(format!("--port={}", backup.server.port))
            .arg(path_option("--datadir=", backup.data_dir))
            .arg(path_option("--target-dir=", &backup.scratch.join("target")))
            .arg(path_option("--tmpdir=", backup.scratch))
            .arg(format!("--parallel={}", backup.threads))
            .current_dir(backup.scratch);
        if self.family == Family::Percona {
            // Else it asks a host of its maker whether there is a newer version.
            command.arg("--no-version-check");
            // mariadb-backup would wait for a moment in which nobody writes, which a busy server never has.
            command.arg(format!("--ftwrl-wait-timeout={}", backup.lock_wait.as_secs()));
        }
        let running = Running::start(&mut command, &self.name(), Stdio::piped())
            .with_context(|| format!("starting {}", self.program.display()))?;
        Ok(running.below(memory::ceiling()))
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

/// The first two numbers of a version.
fn series_of(version: &str) -> String {
    version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".")
}

fn path_option(option: &str, path: &Path) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from(option);
    argument.push(path);
    argument
}

fn version(program: &Path, family: Family) -> Result<String> {
    let output = child::output(Command::new(program).arg("--version"))
        .with_context(|| format!("asking {} for its version", program.display()))
        .map_err(|error| Reason::NoBackupTool.because(error))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    parse_version(&text, family).ok_or_else(|| {
        Reason::NoBackupTool.error(format!("{} --version says {:?}: no version in it", program.display(), text.trim()))
    })
}

/// `xtrabackup version 8.0.35-30 based on …`, `mariadb-backup based on MariaDB server 10.11.19-MariaDB …`.
fn parse_version(text: &str, family: Family) -> Option<String> {
    let marker = match family {
        Family::Percona => "xtrabackup version ",
        Family::Mariadb => "MariaDB server ",
    };
    let (_, rest) = text.split_once(marker)?;
    let version: String =
        rest.chars().take_while(|character| character.is_ascii_digit() || *character == '.').collect();
    version.starts_with(|first: char| first.is_ascii_digit()).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_fits_servers_of_its_series() {
        let tool = |family, version: &str| BackupTool { program: "x".into(), family, version: version.to_owned() };
        let mariadb = tool(Family::Mariadb, "10.11.19");
        assert!(mariadb.fits("10.11.6-MariaDB-1:10.11.6+maria~ubu2204") && mariadb.series() == "10.11");
        assert!(!mariadb.fits("10.6.16-MariaDB") && !mariadb.fits("8.0.36"));
        assert!(tool(Family::Percona, "2.4.29").fits("5.7.44-log"));
        assert!(tool(Family::Percona, "8.0.35").fits("8.0.36") && !tool(Family::Percona, "8.0.35").fits("8.4.0"));
        assert!(
            !tool(Family::Percona, "8.0.35").fits("5.7.44") && !tool(Family::Percona, "2.4.29").fits("10.1-MariaDB")
        );
    }

    #[test]
    fn reads_the_versions_that_the_tools_print() {
        let percona = |text| parse_version(text, Family::Percona);
        let text = "xtrabackup version 8.0.35-30 based on MySQL server 8.0.35 Linux (x86_64) (revision id: 6beb4b49)";
        assert_eq!(percona(text).as_deref(), Some("8.0.35"));
        let text =
            "xtrabackup: recognized server arguments: --datadir=/var/lib/mysql\nxtrabackup version 2.4.29 based on x";
        assert_eq!(percona(text).as_deref(), Some("2.4.29"));
        let text = "mariadb-backup based on MariaDB server 10.11.19-MariaDB debian-linux-gnu (x86_64)";
        assert_eq!(parse_version(text, Family::Mariadb).as_deref(), Some("10.11.19"));
        assert_eq!(percona("sh: not found"), None);
    }
}

//! By what a clone can be made here: a backup tool, a server with the CLONE plugin, or either.

use std::thread::Builder;

use anyhow::{Result, anyhow};

use crate::clone::method::backup_tool::{BackupTool, Words};
use crate::datadir::journal::Unproven;
use crate::model::event::{info, warn};
use crate::model::exit::{Reason, reason_of};
use crate::model::version::series_of;
use crate::server::scratch::Program;
use crate::settings::Method;
use crate::unpack::Format;

/// What is installed, and may be used.
pub struct Ways {
    tool: Option<BackupTool>,
    server: Option<Program>,
}

impl Ways {
    /// Looks around. A tool that doesn't fit the server beside it counts as none where that server can do without.
    pub fn find(method: Method) -> Result<Ways> {
        match method {
            Method::BackupTool => Ok(Ways { tool: Some(BackupTool::find()?), server: None }),
            Method::ClonePlugin => {
                let server = Program::find_with_clone_plugin()?.ok_or_else(|| {
                    Reason::NoBackupTool.error(
                        "no mysqld in PATH that has the CLONE plugin (MySQL 8.0.17 or later): use the server's own image \
                         for --method clone-plugin",
                    )
                })?;
                Ok(Ways { tool: None, server: Some(server) })
            }
            Method::Auto => {
                let (tool, server) = std::thread::scope(|scope| {
                    match Builder::new().name("server".into()).spawn_scoped(scope, Program::find_with_clone_plugin) {
                        Ok(server) => (BackupTool::find(), server.join()),
                        Err(_) => (BackupTool::find(), Ok(Program::find_with_clone_plugin())),
                    }
                });
                Ways::either(
                    tool,
                    server.unwrap_or_else(|_| Err(anyhow!("the thread that looked for it has panicked"))),
                )
            }
        }
    }

    fn either(tool: Result<BackupTool>, server: Result<Option<Program>>) -> Result<Ways> {
        let server = server.unwrap_or_else(|error| {
            warn!(ServerVersionUnknown, "the server here can't be asked for its version: {error:#}");
            None
        });
        match (tool, server) {
            (Ok(tool), Some(server)) if tool.misfit(&server.version).is_some() => {
                info!(MethodPlugin, %tool, server = server.version, "the backup tool does not fit the server: the CLONE plugin does it");
                Ok(Ways { tool: None, server: Some(server) })
            }
            (Ok(tool), server) => Ok(Ways { tool: Some(tool), server }),
            (Err(error), _) if reason_of(&error) == Some(Reason::Limit) => Err(error),
            (Err(_), Some(server)) => Ok(Ways { tool: None, server: Some(server) }),
            (Err(error), None) => {
                Err(error.context("no mysqld with the CLONE plugin (MySQL 8.0.17 or later) is in PATH either"))
            }
        }
    }

    /// The container formats that can be unpacked and prepared.
    pub fn formats(&self) -> &'static [Format] {
        self.tool.as_ref().map_or(&[], BackupTool::formats)
    }

    /// What every prepare by the tool here leaves open, by its version.
    pub fn doubt(&self) -> Option<Unproven> {
        match self.tool.as_ref()?.words() {
            Words::Known => None,
            Words::WithoutEnd => Some(Unproven::PrepareEnd),
            Words::Unread => Some(Unproven::PrepareWords),
        }
    }

    /// The series of the tool, where there is one.
    pub fn tool_series(&self) -> Option<String> {
        self.tool.as_ref().map(BackupTool::series)
    }

    /// The series of the server that the data are for, as far as what is here tells.
    pub fn series(&self) -> Option<String> {
        // XtraBackup 2 copies servers of several series.
        let of_tool = self.tool_series().filter(|series| !series.starts_with("2."));
        of_tool.or_else(|| Some(series_of(&self.server.as_ref()?.version)))
    }

    /// The server, where there is one with the plugin.
    pub fn server(&self) -> Option<&Program> {
        self.server.as_ref()
    }

    /// Why the tool's copies are not for a server of this version; `None` where they are, or there is no tool.
    pub fn misfit(&self, server: &str) -> Option<String> {
        self.tool.as_ref().and_then(|tool| tool.misfit(server))
    }

    /// The tool, for a backup that is there already.
    pub fn needed_tool(&self) -> Result<&BackupTool> {
        let missing = || {
            Reason::NoBackupTool
                .error("what is staged was made by a backup tool, and needs it to be prepared: it is not here")
        };
        self.tool.as_ref().ok_or_else(missing)
    }

    /// The server, for a copy that is there already.
    pub fn needed_server(&self) -> Result<&Program> {
        let missing = || {
            Reason::NoBackupTool.error(
                "what is staged was made by the CLONE plugin, and needs its server to be prepared: it is not here",
            )
        };
        self.server.as_ref().ok_or_else(missing)
    }
}

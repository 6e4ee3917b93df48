//! Finds the clone methods that this image offers: a backup tool, a server with the CLONE plugin, or either.

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

/// The installed programs that may be used.
pub struct Methods {
    tool: Option<BackupTool>,
    server: Option<Program>,
}

impl Methods {
    /// Looks for both. Drops a tool that misfits the server beside it, where that server has the plugin.
    pub fn find(method: Method) -> Result<Methods> {
        match method {
            Method::BackupTool => Ok(Methods { tool: Some(BackupTool::find()?), server: None }),
            Method::ClonePlugin => {
                let server = Program::find_with_clone_plugin()?.ok_or_else(|| {
                    Reason::NoBackupTool.error(
                        "PATH has no mysqld with the CLONE plugin (MySQL 8.0.17 or later): use the server's own image \
                         for --method clone-plugin",
                    )
                })?;
                Ok(Methods { tool: None, server: Some(server) })
            }
            Method::Auto => {
                let (tool, server) = std::thread::scope(|scope| {
                    match Builder::new().name("server".into()).spawn_scoped(scope, Program::find_with_clone_plugin) {
                        Ok(server) => (BackupTool::find(), server.join()),
                        Err(_) => (BackupTool::find(), Ok(Program::find_with_clone_plugin())),
                    }
                });
                Methods::either(
                    tool,
                    server.unwrap_or_else(|_| Err(anyhow!("the thread that searched for it panicked"))),
                )
            }
        }
    }

    fn either(tool: Result<BackupTool>, server: Result<Option<Program>>) -> Result<Methods> {
        let server = server.unwrap_or_else(|error| {
            warn!(ServerVersionUnknown, "cannot read the version of the server program: {error:#}");
            None
        });
        match (tool, server) {
            (Ok(tool), Some(server)) if tool.misfit(&server.version).is_some() => {
                info!(
                    MethodPlugin,
                    %tool,
                    server = server.version,
                    "the backup tool does not fit the server: using the CLONE plugin"
                );
                Ok(Methods { tool: None, server: Some(server) })
            }
            (Ok(tool), server) => Ok(Methods { tool: Some(tool), server }),
            (Err(error), _) if reason_of(&error) == Some(Reason::Limit) => Err(error),
            (Err(_), Some(server)) => Ok(Methods { tool: None, server: Some(server) }),
            (Err(error), None) => {
                Err(error.context("PATH has no mysqld with the CLONE plugin (MySQL 8.0.17 or later) either"))
            }
        }
    }

    /// The container formats that can be unpacked and prepared.
    pub fn formats(&self) -> &'static [Format] {
        self.tool.as_ref().map_or(&[], BackupTool::formats)
    }

    /// The gap that every prepare by this version of the tool leaves.
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

    /// The series of the server that will run on the data, as far as it is known here.
    pub fn series(&self) -> Option<String> {
        // XtraBackup 2 copies servers of several series.
        let of_tool = self.tool_series().filter(|series| !series.starts_with("2."));
        of_tool.or_else(|| Some(series_of(&self.server.as_ref()?.version)))
    }

    /// The server, where there is one with the plugin.
    pub fn server(&self) -> Option<&Program> {
        self.server.as_ref()
    }

    /// Why the tool's copies are unfit for a server of this version; `None` where they fit, or for lack of a tool.
    pub fn misfit(&self, server: &str) -> Option<String> {
        self.tool.as_ref().and_then(|tool| tool.misfit(server))
    }

    /// The tool, for a backup that is already staged.
    pub fn needed_tool(&self) -> Result<&BackupTool> {
        let missing = || {
            Reason::NoBackupTool
                .error("the staged copy comes from a backup tool, which is needed to prepare it and is missing here")
        };
        self.tool.as_ref().ok_or_else(missing)
    }

    /// The server, for a copy that is already staged.
    pub fn needed_server(&self) -> Result<&Program> {
        let missing = || {
            Reason::NoBackupTool.error(
                "the staged copy comes from the CLONE plugin, whose server is needed to prepare it and is missing here",
            )
        };
        self.server.as_ref().ok_or_else(missing)
    }
}

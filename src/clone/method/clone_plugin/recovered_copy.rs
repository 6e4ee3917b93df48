//! A copy by the CLONE plugin with a scratch server running on it: recovers it, reads its position, drops the donor's
//! source.

use std::path::Path;

use anyhow::Result;
use tokio::runtime::Handle;

use super::donors_settings;
use crate::datadir::journal::PluginCopy;
use crate::model::exit::Reason;
use crate::model::position::Position;
use crate::server::scratch::{Access, BESIDE_POOL, Configuration, Grants, LEAST_POOL, Program, ScratchServer, Setup};
use crate::server::{events, plugin};

/// The copy and its server. Dropping it kills the server, and the copy can be started again.
pub struct RecoveredCopy {
    scratch: ScratchServer,
}

impl RecoveredCopy {
    /// Starts a server on the copy, with access checks off, and waits until it has recovered.
    pub fn start(program: &Program, data: &Path, copy: &PluginCopy, memory: u64) -> Result<RecoveredCopy> {
        let setup = Setup {
            program,
            stage: data.parent().unwrap_or(data),
            data_dir: data.to_owned(),
            configuration: Configuration::None,
            grants: Grants::Skipped,
            access: Access::Writable,
            pool: memory.saturating_sub(BESIDE_POOL).max(LEAST_POOL),
            options: donors_settings::options(&copy.settings, &[]),
            blame: Reason::ScratchServer,
        };
        let scratch = Handle::current().block_on(setup.start(&|| true))?;
        Ok(RecoveredCopy { scratch })
    }

    /// The donor's objects that the copy lacks, in words: they were created during the copy.
    pub fn what_it_lacks(&mut self) -> Result<Option<String>> {
        Handle::current().block_on(plugin::what_is_not_copied(&mut self.scratch.server))
    }

    /// The position from which replication would start.
    pub fn position(&mut self, copy: &PluginCopy) -> Result<Position> {
        Handle::current().block_on(plugin::position(&mut self.scratch.server, copy.position_in))
    }

    /// Drops the source that came with the data, so that no server ever follows it from here. This also drops the
    /// position, so it must be journalled before.
    pub fn forget_source(&mut self) -> Result<()> {
        let server = &mut self.scratch.server;
        Handle::current().block_on(async { server.execute(&server.dialect.forget_source()).await })
    }

    /// The events that came with the data and have to be changed.
    pub fn events(&mut self, change: events::Change) -> Result<Vec<String>> {
        Handle::current().block_on(events::concerned(&mut self.scratch.server, change))
    }

    /// Changes these events.
    pub fn change_events(&mut self, change: events::Change) -> Result<()> {
        Handle::current().block_on(events::change(&mut self.scratch.server, change))
    }

    /// Explains an error by the server's own end, if the server has ended.
    pub fn explain(self, error: anyhow::Error) -> anyhow::Error {
        Handle::current().block_on(self.scratch.explain(error))
    }

    /// Stops the server.
    pub fn stop(self) -> Result<()> {
        Handle::current().block_on(self.scratch.stop())
    }
}

//! A copy with a server of our own running on it: recovered, asked for its position, rid of the donor's source.

use std::path::Path;

use anyhow::Result;
use tokio::runtime::Handle;

use super::donors_settings;
use crate::datadir::journal::PluginCopy;
use crate::model::exit::Reason;
use crate::model::position::Position;
use crate::server::scratch::{Access, BESIDE_POOL, Configuration, Grants, LEAST_POOL, OwnServer, Program, Setup};
use crate::server::{events, plugin};

/// Such a copy. Dropped, its server is killed, and it can be started anew.
pub struct StartedCopy {
    own_server: OwnServer,
}

impl StartedCopy {
    /// Starts a server on it, without looking at its accounts, and waits until it is recovered.
    pub fn start(program: &Program, data: &Path, copy: &PluginCopy, memory: u64) -> Result<StartedCopy> {
        let setup = Setup {
            program,
            stage: data.parent().unwrap_or(data),
            data_dir: data.to_owned(),
            configuration: Configuration::None,
            grants: Grants::Skipped,
            access: Access::Writable,
            pool: memory.saturating_sub(BESIDE_POOL).max(LEAST_POOL),
            options: donors_settings::options(&copy.settings, &[]),
            blame: Reason::OwnServer,
        };
        let own_server = Handle::current().block_on(setup.start(&|| true))?;
        Ok(StartedCopy { own_server })
    }

    /// What it lacks of the donor's, in words: made while it was copied.
    pub fn what_it_lacks(&mut self) -> Result<Option<String>> {
        Handle::current().block_on(plugin::what_is_not_copied(&mut self.own_server.server))
    }

    /// Where replication would start from it.
    pub fn position(&mut self, copy: &PluginCopy) -> Result<Position> {
        Handle::current().block_on(plugin::position(&mut self.own_server.server, copy.position_in))
    }

    /// Forgets the source that came with the data, so that no server ever follows it from here. It takes the position
    /// along: that must be known, lastingly, before.
    pub fn forget_source(&mut self) -> Result<()> {
        let server = &mut self.own_server.server;
        Handle::current().block_on(async { server.execute(&server.dialect.forget_source()).await })
    }

    /// The events that came with the data and have to be changed.
    pub fn events(&mut self, change: events::Change) -> Result<Vec<String>> {
        Handle::current().block_on(events::concerned(&mut self.own_server.server, change))
    }

    /// Changes them.
    pub fn change_events(&mut self, change: events::Change) -> Result<()> {
        Handle::current().block_on(events::change(&mut self.own_server.server, change))
    }

    /// What an error comes from: the server's own end, where it has come to one.
    pub fn explain(self, error: anyhow::Error) -> anyhow::Error {
        Handle::current().block_on(self.own_server.explain(error))
    }

    /// Stops the server.
    pub fn stop(self) -> Result<()> {
        Handle::current().block_on(self.own_server.stop())
    }
}

//! Compares the server's id with the one that `init-config` wrote, at each start of the server. A later file, an
//! argument or a persisted variable may have overridden it. Two replicas with one id end each other's connection to the
//! primary in turn.

use anyhow::{Context, Result};

use crate::model::event::Event;
use crate::model::ordinal::Role;
use crate::server::config_files::server_id;
use crate::server::status::Thread;
use crate::server::{Server, replication_status};
use crate::settings::Sidecar;

/// Refuses a server with another id, and stops its receiver to protect the other replicas. Compares only where
/// `init-config` has left an id.
pub async fn check(server: &mut Server, settings: &Sidecar) -> Result<()> {
    let Some(written) = server_id::written(&settings.server_config)? else { return Ok(()) };
    let actual = server.value("SELECT @@GLOBAL.server_id").await?.context("the server reports no server_id")?;
    if actual == written.to_string() {
        return Ok(());
    }
    let receiver = replication_status(server).await?.map_or(Thread::Stopped, |status| status.receiver);
    if settings.member.role() == Role::Replica && receiver != Thread::Stopped {
        server.execute(&server.dialect.stop_receiver()).await?;
    }
    let text = format!(
        "the server has server_id {actual}, but {} says {written}: with one id, two servers of a set end each other's \
         replication. Remove server_id from the ConfigMap, from the server's arguments and from its persisted \
         variables (RESET PERSIST server_id), then restart the pod",
        server_id::FILE
    );
    Err(Event::ServerIdDiffers.because(text).into())
}

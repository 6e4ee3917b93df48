//! The server's id, compared at each of its starts with what `init-config` wrote: a later file, an argument or a persisted
//! variable may have overruled it. Of two replicas with one id the primary serves one at a time, and each ends the other's.

use anyhow::{Context, Result};

use crate::model::event::Event;
use crate::model::ordinal::Role;
use crate::server::config_files::server_id;
use crate::server::status::Thread;
use crate::server::{Server, replication_status};
use crate::settings::Sidecar;

/// Refuses a server with another id, and stops its receiver, so that it harms no other replica. Where `init-config` has left no
/// id, nothing is compared.
pub async fn check(server: &mut Server, settings: &Sidecar) -> Result<()> {
    let Some(written) = server_id::written(&settings.server_config)? else { return Ok(()) };
    let actual = server.value("SELECT @@GLOBAL.server_id").await?.context("the server says no server_id")?;
    if actual == written.to_string() {
        return Ok(());
    }
    let receiver = replication_status(server).await?.map_or(Thread::Stopped, |status| status.receiver);
    if settings.member.role() == Role::Replica && receiver != Thread::Stopped {
        server.execute(&server.dialect.stop_receiver()).await?;
    }
    let text = format!(
        "the server has server_id {actual}, but {} says {written}: two servers of a set with one id end each other's \
         replication. Remove server_id from the ConfigMap, from the server's arguments and from its persisted variables (RESET \
         PERSIST server_id), then restart the pod",
        server_id::FILE
    );
    Err(Event::ServerIdDiffers.because(text).into())
}

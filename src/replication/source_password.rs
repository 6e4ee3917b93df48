//! The password of replication in the server: given again where it changed.

use anyhow::Result;

use crate::model::event::Event;
use crate::server::Server;
use crate::server::dialect::Dialect;
use crate::settings::Sidecar;

/// A receiver that the source turns away is given the password anew: it may have been changed on both ends since.
pub async fn renew_password(server: &mut Server, settings: &Sidecar) -> Result<()> {
    check_password(server.dialect, settings)?;
    server.execute(&server.dialect.stop()).await?;
    server.execute(&server.dialect.change_password(&settings.replication)).await?;
    server.execute(&server.dialect.start_applier()).await?;
    server.execute(&server.dialect.start_receiver()).await
}

/// A server refuses one that is too long, and quotes it.
pub fn check_password(dialect: Dialect, settings: &Sidecar) -> Result<()> {
    let length = settings.replication.password.current().reveal().chars().count();
    let longest = dialect.longest_source_password();
    if length > longest {
        let text = format!(
            "the replication password has {length} characters, and this server takes {longest} for its source: give it a \
             shorter one"
        );
        return Err(Event::ReplicationPasswordTooLong.because(text).into());
    }
    Ok(())
}

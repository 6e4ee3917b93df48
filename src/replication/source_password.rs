//! The password of replication in the server: given again where it changed.

use anyhow::Result;

use crate::model::event::Event;
use crate::server::Server;
use crate::server::dialect::Dialect;
use crate::settings::Sidecar;

/// Sets the receiver's password again after the source denied access: it may have changed on both ends since.
pub async fn renew_password(server: &mut Server, settings: &Sidecar) -> Result<()> {
    check_password(server.dialect, settings)?;
    server.execute(&server.dialect.stop()).await?;
    server.execute(&server.dialect.change_password(&settings.replication)).await?;
    server.execute(&server.dialect.start_applier()).await?;
    server.execute(&server.dialect.start_receiver()).await
}

/// Checked first, because a server quotes a password that is too long in its error.
pub fn check_password(dialect: Dialect, settings: &Sidecar) -> Result<()> {
    let length = settings.replication.password.current().reveal().chars().count();
    let longest = dialect.longest_source_password();
    if length > longest {
        let text = format!(
            "the replication password has {length} characters, and this server accepts at most {longest} for its \
             source: choose a shorter one"
        );
        return Err(Event::ReplicationPasswordTooLong.because(text).into());
    }
    Ok(())
}

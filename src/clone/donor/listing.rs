//! The inventory that goes with a copy: a look at the server before it is made, another when it is there, and what both
//! have. ([`crate::protocol::inventory`])

use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::time::sleep;

use super::context::Donor;
use super::definitions;
use super::method::Way;
use crate::model::event::{Event, info};
use crate::protocol::inventory::encoding::{self, NAME};
use crate::protocol::inventory::look::Look;
use crate::protocol::message::{Hello, Refusal, Why};
use crate::server::Server;
use crate::server::account::Account;
use crate::server::inventory::{self, Extent, Unknown};

/// A server that does not answer now may do so later, in seconds.
const RETRY_AFTER: u64 = 5;

/// From so many tablespaces and files on it is worth a look whether an inventory has room for them.
const MANY: usize = 50_000;

/// How an inventory is encoded for a recipient that takes what it names.
pub fn encoding(asked_for: &[String]) -> Option<String> {
    asked_for.iter().any(|name| name == NAME).then(|| NAME.to_owned())
}

/// Whose account asks, and what of the server is copied.
fn asking<'a>(donor: &'a Donor, way: Way<'_>) -> (&'a Account, Extent) {
    match way {
        Way::Tool(_) => (&donor.settings.backup, Extent::AllEngines),
        Way::Plugin => (&donor.settings.sql, Extent::InnodbOnly),
    }
}

/// Whether the account may ask, for a recipient that asks for an inventory.
pub async fn may_look(donor: &Donor, way: Way<'_>, hello: &Hello, server: &mut Server) -> Result<(), Refusal> {
    match encoding(&hello.inventory) {
        Some(_) => inventory::may_look(server, &asking(donor, way).0.user).await.map_err(refusal),
        None => Ok(()),
    }
}

fn refusal(unknown: Unknown) -> Refusal {
    match &unknown {
        Unknown::NoAnswer(_) => Refusal::passing(Event::RefusedServer, Why::NotReady, &unknown, RETRY_AFTER),
        Unknown::NoPrivilege { .. } => Refusal::new(Event::RefusedNoPrivilege, Why::Unsupported, &unknown),
        Unknown::Uncopied(_) => Refusal::new(Event::RefusedUncopied, Why::Unsupported, &unknown),
    }
}

/// The look before the copy, for a recipient that asks for an inventory.
pub async fn first_look(
    donor: &Donor,
    way: Way<'_>,
    hello: &Hello,
    server: &mut Server,
) -> Result<Option<Look>, Refusal> {
    if encoding(&hello.inventory).is_none() {
        return Ok(None);
    }
    let (account, extent) = asking(donor, way);
    let look = inventory::look(server, &account.user, &donor.settings.data_dir, extent).await;
    let look = look.map_err(refusal)?;
    if let Some(text) = definitions::lost(&look, &donor.settings.data_dir).await {
        return Err(Refusal::new(Event::RefusedDefinitionLost, Why::Unsupported, text));
    }
    // Before the copy is made: what is too much now will be too much then.
    if look.len() > MANY {
        encoding::encode(&look.and(&look))
            .map_err(|text| Refusal::new(Event::RefusedUncopied, Why::Unsupported, text))?;
    }
    Ok(Some(look))
}

/// The look after the copy, and the encoded inventory. While the server is asked, `tell` is called after each `period`.
/// An error says in words why the copy can't be proven.
pub fn inventory(
    donor: &Donor,
    way: Way<'_>,
    before: &Look,
    period: Duration,
    mut tell: impl FnMut(),
) -> Result<Vec<u8>, String> {
    let began = Instant::now();
    let looking = second_look(donor, way);
    let after = Handle::current().block_on(async {
        tokio::pin!(looking);
        loop {
            tokio::select! {
                after = &mut looking => return after,
                () = sleep(period) => tell(),
            }
        }
    });
    let after = after.map_err(|error| format!("the copy was made, and can't be proven: {error:#}"))?;
    let inventory = before.and(&after);
    let bytes = encoding::encode(&inventory)?;
    info!(
        InventoryMade,
        entries = inventory.entries.len(),
        before = before.len(),
        after = after.len(),
        seconds = began.elapsed().as_secs_f64(),
        "what the copy must hold"
    );
    Ok(bytes)
}

async fn second_look(donor: &Donor, way: Way<'_>) -> anyhow::Result<Look> {
    let (account, extent) = asking(donor, way);
    let mut server = Server::connect(&donor.settings.server, account).await?;
    let look = inventory::look(&mut server, &account.user, &donor.settings.data_dir, extent).await?;
    server.close().await;
    Ok(look)
}

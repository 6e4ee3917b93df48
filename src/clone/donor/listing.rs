//! Makes the inventory of a copy: one look at the server before the copy, one after it, and the entries that both have.
//! ([`crate::protocol::inventory`])

use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::time::sleep;

use super::context::Donor;
use super::definitions;
use crate::clone::method::CloneMethod;
use crate::model::event::{Event, info};
use crate::protocol::inventory::encoding::{self, NAME};
use crate::protocol::inventory::server_look::Look;
use crate::protocol::message::{Hello, Refusal, Why};
use crate::server::Server;
use crate::server::account::Account;
use crate::server::inventory::{self, Extent, Unknown};

/// Seconds after which a recipient may retry when the server did not answer.
const RETRY_AFTER: u64 = 5;

/// Number of tablespaces and files from which the size of the inventory is checked first.
const MANY: usize = 50_000;

/// The inventory encoding for a recipient, out of those that it offers.
pub fn encoding(asked_for: &[String]) -> Option<String> {
    asked_for.iter().any(|name| name == NAME).then(|| NAME.to_owned())
}

/// The account that asks, and the part of the server that is copied.
fn asking<'a>(donor: &'a Donor, method: &dyn CloneMethod) -> (&'a Account, Extent) {
    (method.account(&donor.settings), method.extent())
}

/// Checks that the account may read the inventory, if the recipient asks for one.
pub async fn may_look(
    donor: &Donor,
    method: &dyn CloneMethod,
    hello: &Hello,
    server: &mut Server,
) -> Result<(), Refusal> {
    match encoding(&hello.inventory) {
        Some(_) => inventory::may_look(server, &asking(donor, method).0.user).await.map_err(refusal),
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

/// The look before the copy, if the recipient asks for an inventory.
pub async fn first_look(
    donor: &Donor,
    method: &dyn CloneMethod,
    hello: &Hello,
    server: &mut Server,
) -> Result<Option<Look>, Refusal> {
    if encoding(&hello.inventory).is_none() {
        return Ok(None);
    }
    let (account, extent) = asking(donor, method);
    let look = inventory::look(server, &account.user, &donor.settings.data_dir, extent).await;
    let look = look.map_err(refusal)?;
    if let Some(text) = definitions::lost(&look, &donor.settings.data_dir).await {
        return Err(Refusal::new(Event::RefusedDefinitionLost, Why::Unsupported, text));
    }
    // Checked before the copy: an inventory that is too large now stays too large.
    if look.len() > MANY {
        encoding::encode(&look.and(&look))
            .map_err(|text| Refusal::new(Event::RefusedUncopied, Why::Unsupported, text))?;
    }
    Ok(Some(look))
}

/// Takes the look after the copy and returns the encoded inventory. Calls `tell` after each `period` while the server
/// answers. An error says why the copy cannot be proven.
pub fn inventory(
    donor: &Donor,
    method: &dyn CloneMethod,
    before: &Look,
    period: Duration,
    mut tell: impl FnMut(),
) -> Result<Vec<u8>, String> {
    let began = Instant::now();
    let looking = second_look(donor, method);
    let after = Handle::current().block_on(async {
        tokio::pin!(looking);
        loop {
            tokio::select! {
                after = &mut looking => return after,
                () = sleep(period) => tell(),
            }
        }
    });
    let after = after.map_err(|error| format!("the copy is made but cannot be proven: {error:#}"))?;
    let inventory = before.and(&after);
    let bytes = encoding::encode(&inventory)?;
    info!(
        InventoryMade,
        entries = inventory.entries.len(),
        before = before.len(),
        after = after.len(),
        seconds = began.elapsed().as_secs_f64(),
        "listed the tables that the copy must hold"
    );
    Ok(bytes)
}

async fn second_look(donor: &Donor, method: &dyn CloneMethod) -> anyhow::Result<Look> {
    let (account, extent) = asking(donor, method);
    let mut server = Server::connect(&donor.settings.server, account).await?;
    let look = inventory::look(&mut server, &account.user, &donor.settings.data_dir, extent).await?;
    server.close().await;
    Ok(look)
}

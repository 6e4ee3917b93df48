//! Receives a clone by MySQL's CLONE plugin: a scratch server fetches it from the donor's server, while the connection
//! to the donor's sidecar stays open.

use std::net::{IpAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::clone::connection::{Asker, Lease};
use crate::clone::method::clone_plugin::{DonorLease, Fetch, Trouble};
use crate::clone::recipient::failed_attempt::{Setback, check_file_size, setback_of_wire};
use crate::clone::recipient::received::{Means, Received, checked_inventory, inventory_file};
use crate::datadir::journal::PluginCopy;
use crate::model::event::info;
use crate::model::exit::Reason;
use crate::model::host::HostPort;
use crate::model::ordinal::{Member, Ordinal};
use crate::protocol::auth;
use crate::protocol::clone_secret::{CloneSecret, Keys};
use crate::protocol::message::{Copied, PluginOffer};
use crate::server::account::Account;
use crate::server::plugin::PositionIn;
use crate::server::scratch::{FETCHING, Program};
use crate::server::{Server, TurnedAway};
use crate::sys::container_memory;
use crate::sys::disk::disk_error;
use crate::sys::secret::{Password, Secret};
use crate::unpack::{self, UnpackError};

/// A copy that stalls for this many stall timeouts is given up: 20 minutes by default. In that time the scratch server
/// is made. The donor's server waits for its locks (clone_ddl_timeout, 5 minutes) and lists its files, and a disk
/// writes out its cache.
const STALLS: u32 = 40;

/// Limit for one login at the donor's server.
const LOGIN_LIMIT: Duration = Duration::from_secs(5);

/// Fetches the whole copy. Its position is read later, when a server is started on it.
pub fn receive(
    asker: &Asker<'_>,
    donor: &HostPort,
    lease: Lease,
    program: &Program,
    means: &Means<'_>,
) -> Result<Received, Setback> {
    let Lease { offer, stream } = lease;
    let host = name_for_plugin(donor, asker.member, means.service, Ordinal(offer.ordinal))?;
    let started = Instant::now();
    check_file_size(offer.largest_file)?;
    container_memory::ensure("a copy by the CLONE plugin", FETCHING, "have a backup tool in PATH")
        .map_err(Setback::Fatal)?;
    let patience = asker.peering.stall_timeout * STALLS;
    let lease = DonorLease::hold(stream, patience)
        .context("cannot hold the connection to the donor")
        .map_err(Setback::Fatal)?;
    info!(
        ReceiveBegun,
        pod = offer.pod,
        server = offer.server,
        own_version = program.version,
        expected_bytes = offer.expected_bytes,
        rate_limit = offer.rate_limit,
        "receiving by the CLONE plugin"
    );
    let data = (means.stage)().map_err(Setback::Fatal)?;
    let server = HostPort { host, port: offer.server_port };
    let fetch = Fetch {
        program,
        offer: &offer,
        password: password(asker, &server, &offer.user),
        server,
        lease: &lease,
        data: &data,
    };
    let fetched = fetch.run().map_err(|trouble| match trouble {
        Trouble::Broken { why, bytes } => Setback::Broken { why, bytes },
        Trouble::Fatal(error) => Setback::Fatal(error),
    })?;
    unpack::scan(&data).map_err(|error| match error {
        UnpackError::Output { path, source } => {
            Setback::Fatal(disk_error(source, format!("cannot scan {}", path.display())))
        }
        refused => Setback::Unusable(Reason::Refused.error(refused)),
    })?;
    let bytes = fetched.bytes;
    let end = lease.give_back(&Copied { bytes }, inventory_file(&(means.inventory)())?);
    let inventory =
        checked_inventory(&(means.inventory)(), &end.map_err(|error| setback_of_wire(error, bytes))?, bytes)?;
    let seconds = started.elapsed().as_secs_f64();
    info!(ReceiveDone, bytes, seconds, "clone received; the server reports it complete");
    Ok(Received {
        donor: donor.clone(),
        tool: format!("CLONE plugin of {}", program.version),
        plugin: Some(PluginCopy { position_in: position_in(&offer), settings: offer.settings }),
        donor_pod: offer.pod,
        set_id: offer.set_id,
        lineage: offer.lineage,
        bytes,
        seconds,
        position: None,
        inventory,
    })
}

/// The password of the account for the copy. While the clone secret is being changed either may apply: the primary's
/// sidecar sets the one that comes first there.
fn password(asker: &Asker<'_>, server: &HostPort, user: &str) -> Secret {
    let keys = asker.peering.secret.as_ref().map(CloneSecret::now);
    let of = |secret: Option<&Secret>| auth::password_of_plugin(secret, &asker.member.set);
    let first = of(keys.as_ref().map(Keys::own));
    let Some(second) = keys.as_ref().and_then(|keys| keys.all().nth(1)) else { return first };
    let account = Account { user: user.to_owned(), password: Password::fixed(first.reveal()), socket: None };
    let login = async {
        match timeout(LOGIN_LIMIT, Server::connect(server, &account)).await {
            Ok(Ok(server)) => {
                server.close().await;
                true
            }
            // Any other obstacle will be reported by the copy itself.
            Ok(Err(error)) => !error.downcast_ref::<TurnedAway>().is_some_and(TurnedAway::is_stranger),
            Err(_) => true,
        }
    };
    if Handle::current().block_on(login) { first } else { of(Some(second)) }
}

/// The donor's name for a server. The plugin accepts no IPv6 address, but a name that resolves to one. (MySQL reference
/// manual, "Cloning Remote Data")
fn name_for_plugin(donor: &HostPort, member: &Member, service: &str, ordinal: Ordinal) -> Result<String, Setback> {
    let Some(IpAddr::V6(address)) = donor.address() else { return Ok(donor.host.clone()) };
    let name = member.peer(ordinal, service);
    let leads_there =
        (name.as_str(), donor.port).to_socket_addrs().is_ok_and(|mut found| found.any(|at| at.ip() == address));
    if leads_there {
        return Ok(name);
    }
    Err(Setback::Unacceptable(format!(
        "the CLONE plugin accepts no IPv6 address, and {name} does not resolve to {address}: name the donor by a host name (--donor)"
    )))
}

fn position_in(offer: &PluginOffer) -> PositionIn {
    if offer.by_gtid {
        PositionIn::GtidExecuted
    } else if Ordinal(offer.ordinal) == Ordinal::PRIMARY {
        PositionIn::CloneStatus
    } else {
        PositionIn::ReplicationTables
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_needs_a_name_for_the_plugin() {
        let member = Member { set: "mysql".into(), ordinal: Ordinal(1) };
        let named = |host: &str| {
            let donor = HostPort { host: host.into(), port: 3307 };
            name_for_plugin(&donor, &member, "invalid", Ordinal(0)).map_err(|setback| setback.to_string())
        };
        assert_eq!(named("mysql-0.mysql"), Ok("mysql-0.mysql".into()));
        assert_eq!(named("10.0.0.1"), Ok("10.0.0.1".into()));
        let error = named("fd00::1").unwrap_err();
        assert!(error.contains("no IPv6 address") && error.contains("--donor"), "{error}");
    }
}

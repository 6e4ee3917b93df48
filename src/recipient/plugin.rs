//! A clone by MySQL's CLONE plugin: a server of our own fetches it from the donor's server, while the connection to the
//! donor's sidecar stands.

use std::time::Instant;

use anyhow::Context;

use super::{Means, Received, Setback, check_file_size, checked_inventory, inventory_file, setback_of_wire};
use crate::clone_plugin::{Fetch, HeldTurn, Trouble};
use crate::datadir::journal::PluginCopy;
use crate::event::info;
use crate::exit::{self, Reason};
use crate::mysql::plugin::PositionIn;
use crate::ordinal::Ordinal;
use crate::own_server::Program;
use crate::peer::{Asker, Lease};
use crate::secret::Password;
use crate::settings::HostPort;
use crate::unpack::{self, UnpackError};
use crate::wire::auth;
use crate::wire::message::{Copied, PluginOffer};

/// A copy that hasn't moved for so many stall timeouts is given up: 20 minutes by default. Our server is made in that time,
/// the donor's waits for its locks (clone_ddl_timeout, 5 minutes) and names its files, and a disk writes out what it has
/// taken.
const STALLS: u32 = 40;

/// Fetches all of it. Where it stands in what was fetched will be seen when a server is started on it.
pub fn receive(
    asker: &Asker<'_>,
    donor: &HostPort,
    lease: Lease,
    program: &Program,
    means: &Means<'_>,
) -> Result<Received, Setback> {
    let Lease { offer, stream } = lease;
    let started = Instant::now();
    check_file_size(offer.largest_file)?;
    let patience = asker.peering.stall_timeout * STALLS;
    let turn = HeldTurn::hold(stream, patience).context("the connection to the donor").map_err(Setback::Fatal)?;
    info!(
        ReceiveBegun,
        pod = offer.pod,
        server = offer.server,
        own_server = program.version,
        expected_bytes = offer.expected_bytes,
        rate_limit = offer.rate_limit,
        "receiving by the CLONE plugin"
    );
    let data = (means.stage)().map_err(Setback::Fatal)?;
    let secret = asker.peering.secret.as_ref().map(Password::current);
    let fetch = Fetch {
        program,
        offer: &offer,
        server: HostPort { host: donor.host.clone(), port: offer.server_port },
        password: auth::password_of_plugin(secret.as_ref(), &asker.member.set),
        turn: &turn,
        data: &data,
    };
    let fetched = fetch.run().map_err(|trouble| match trouble {
        Trouble::Broken { why, bytes } => Setback::Broken { why, bytes },
        Trouble::Fatal(error) => Setback::Fatal(error),
    })?;
    unpack::scan(&data).map_err(|error| match error {
        UnpackError::Output { path, source } => {
            Setback::Fatal(exit::disk_error(source, format!("looking at {}", path.display())))
        }
        refused => Setback::Unusable(Reason::Refused.error(refused)),
    })?;
    let bytes = fetched.bytes;
    let end = turn.give_back(&Copied { bytes }, inventory_file(means.inventory)?);
    let inventory = checked_inventory(means.inventory, &end.map_err(|error| setback_of_wire(error, bytes))?, bytes)?;
    let seconds = started.elapsed().as_secs_f64();
    info!(ReceiveDone, bytes, seconds, "received, whole by the server's word");
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

fn position_in(offer: &PluginOffer) -> PositionIn {
    if offer.by_gtid {
        PositionIn::GtidExecuted
    } else if Ordinal(offer.ordinal) == Ordinal::PRIMARY {
        PositionIn::CloneStatus
    } else {
        PositionIn::ReplicationTables
    }
}

//! The asking half of the protocol in [`crate::protocol`], up to the answer: an offer of a clone, or a report.

mod asking;
pub(in crate::clone) mod connecting;
mod handshake;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::model::host::HostPort;
use crate::model::ordinal::{Member, Ordinal};
use crate::protocol::message::{Report, Wants};
use crate::settings::Peering;

pub use super::legacy_stream::connection::{LegacyStream, take_legacy_stream};
pub use asking::{Asker, Place, Questions, Refused, Silence, Site};
pub use handshake::{Answer, Incoming, Lease, ask_for_clone};

/// Limit for a report. A living peer answers at once; its server may take a moment.
const REPORT_LIMIT: Duration = Duration::from_secs(5);

/// Asks a peer for a report. Takes a few seconds at most.
pub fn ask_for_report(
    member: &Member,
    peering: &Peering,
    place: &Place,
    questions: &Questions,
) -> Result<Report, Silence> {
    let asker = Asker {
        member,
        peering,
        wants: Wants::Report,
        formats: &[],
        site: Site::default(),
        set_id: None,
        takes_unproven: false,
    };
    handshake::ask_for_report(&asker, place, questions, REPORT_LIMIT)
}

/// Asks the primary's sidecar for a report, by its name. A name server that is behind may lead to a pod that took over
/// the address, and that pod's report is rejected.
pub fn ask_primary(
    member: &Member,
    peering: &Peering,
    primary: &HostPort,
    questions: &Questions,
) -> Result<Report, Silence> {
    let report = ask_for_report(member, peering, &Place::Name(primary.clone()), questions)?;
    let is_primary = Ordinal(report.ordinal) == Ordinal::PRIMARY
        && report.pod == Member { set: member.set.clone(), ordinal: Ordinal::PRIMARY }.to_string();
    if is_primary {
        return Ok(report);
    }
    Err(Silence::Mute(format!("the primary's name leads to {}", report.pod)))
}

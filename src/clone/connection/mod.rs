//! The asking half of the protocol in [`crate::protocol`], up to the answer: an offer of a clone, or a report.

mod asking;
pub(in crate::clone) mod connecting;
mod handshake;
mod receive_buffer;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::model::host::HostPort;
use crate::model::ordinal::{Member, Ordinal};
use crate::protocol::message::{Report, Wants};
use crate::settings::Peering;

pub use super::legacy_stream::connection::{BareStream, take_bare_stream};
pub use asking::{Asker, Place, Questions, Refused, Silence, Site};
pub use handshake::{Answer, Incoming, Lease, ask_for_clone};

/// A peer that is there reports at once; its server may take a moment to answer it.
const REPORT_LIMIT: Duration = Duration::from_secs(5);

/// Asks a peer what it is. Takes a few seconds at most.
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

/// The same of the primary's sidecar, by its name. A name server that is behind may lead to a pod that has the address now: what
/// that says is not the primary's word.
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
    Err(Silence::Mute(format!("the name leads to {}, which is not the primary", report.pod)))
}

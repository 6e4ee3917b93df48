//! The recipient: finds a donor and receives a complete backup from it, or fails.

mod donor_choice;
pub(in crate::clone) mod failed_attempt;
pub(in crate::clone) mod received;

use tracing::info_span;

use super::legacy_stream;
use super::method::{backup_tool, clone_plugin};
use crate::clone::connection::{self, Answer, Asker, Silence};
use crate::model::host::HostPort;

pub use donor_choice::receive_from_any;
pub use failed_attempt::Setback;
pub use received::{Means, Received};

/// One attempt at one donor. With `is_legacy` set, the donor is known to send the legacy stream and gets no handshake:
/// that would break off another backup there.
pub fn receive(
    asker: &Asker<'_>,
    donor: &HostPort,
    is_legacy: &mut bool,
    means: &Means<'_>,
) -> Result<Received, Setback> {
    info_span!("receive", %donor).in_scope(|| {
        if *is_legacy {
            return legacy_stream::recipient::receive(asker, donor, is_legacy, means);
        }
        let answer = match connection::ask_for_clone(asker, donor) {
            Err(Silence::Legacy) if asker.takes_unproven => {
                return legacy_stream::recipient::receive(asker, donor, is_legacy, means);
            }
            answer => answer.map_err(|silence| Setback::of(silence, asker.peering.secret.is_some()))?,
        };
        match (answer, means.server) {
            (Answer::Stream(incoming), _) => backup_tool::recipient::receive(*incoming, donor, means),
            (Answer::Plugin(lease), Some(program)) => {
                clone_plugin::recipient::receive(asker, donor, *lease, program, means)
            }
            (Answer::Plugin(_), None) => {
                Err(Setback::Unacceptable("the CLONE plugin needs a server program here, and there is none".into()))
            }
        }
    })
}

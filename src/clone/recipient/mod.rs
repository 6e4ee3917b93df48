//! The recipient: finds a donor, and receives a whole backup from it or nothing.

pub(in crate::clone) mod received;
mod retry;
pub(in crate::clone) mod setback;

use tracing::info_span;

use super::legacy_stream;
use super::method::clone_plugin;
use crate::clone::connection::{self, Answer, Asker, Silence};
use crate::model::host::HostPort;

pub use received::{Means, Received};
pub use retry::receive_from_any;
pub use setback::Setback;

use crate::clone::method::backup_tool::recipient::{check_descriptors, unpack_all};
use setback::check_file_size;

/// One try at one donor. `is_bare` says that the donor was found to be the tutorial's, and isn't
/// asked what it is: that would break off another backup there.
pub fn receive(
    asker: &Asker<'_>,
    donor: &HostPort,
    is_bare: &mut bool,
    means: &Means<'_>,
) -> Result<Received, Setback> {
    info_span!("receive", %donor).in_scope(|| {
        if *is_bare {
            return legacy_stream::recipient::receive(asker, donor, is_bare, means);
        }
        let answer = match connection::ask_for_clone(asker, donor) {
            Err(Silence::Bare) if asker.takes_unproven => {
                return legacy_stream::recipient::receive(asker, donor, is_bare, means);
            }
            answer => answer.map_err(|silence| Setback::of(silence, asker.peering.secret.is_some()))?,
        };
        match (answer, means.server) {
            (Answer::Stream(incoming), _) => {
                check_descriptors(&incoming.offer).map_err(Setback::Fatal)?;
                check_file_size(incoming.offer.largest_file)?;
                let directory = (means.stage)().map_err(Setback::Fatal)?;
                unpack_all(*incoming, donor, &directory, means)
            }
            (Answer::Plugin(lease), Some(program)) => {
                clone_plugin::recipient::receive(asker, donor, *lease, program, means)
            }
            (Answer::Plugin(_), None) => Err(Setback::Unacceptable("there is no server here to copy with".into())),
        }
    })
}

//! What the primary's sidecar says of itself.

use crate::clone::connection::{self, Questions};
use crate::protocol::message::Report;
use crate::settings::CloneSettings;

/// Asks the primary's sidecar, without any question about a position.
pub fn ask_primary(settings: &CloneSettings) -> Result<Report, String> {
    connection::ask_primary(&settings.member, &settings.peering, &settings.primary, &Questions::default())
        .map_err(|silence| format!("{}: {silence}", settings.primary))
}

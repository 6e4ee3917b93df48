//! A clone by MySQL's CLONE plugin, when there is no backup tool: a scratch server fetches it from the donor's server.
//!
//! ```text
//!  stage/own    an empty database, for the scratch server that fetches         thrown away
//!  stage/data   the fetched copy                                               received
//!                 └─ a scratch server starts on it: recovers it, reads its
//!                    position, drops the donor's source, stops                 prepared
//! ```
//!
//! The scratch server listens only on a socket in the stage, keeps binary log, replication and events off, and is
//! killed with this process. The donor's settings that it needs come with the offer. Facts about the plugin are from
//! MySQL's reference manual and seen with 9.7.

pub mod donor;
mod donor_lease;
mod donors_settings;
mod fetch;
pub mod recipient;
mod recovered_copy;

pub use donor_lease::DonorLease;
pub use fetch::{Fetch, Fetched, Trouble};
pub use recovered_copy::RecoveredCopy;

use crate::clone::method::backup_tool::BackupTool;
use crate::server::dialect::Dialect;
use crate::settings::Method;

/// Whether a donor's server is copied by the plugin, as far as the donor alone can tell.
pub fn copies_server(method: Method, tool: Option<&BackupTool>, server: &str) -> bool {
    let has_plugin = Dialect::of(server).is_ok_and(Dialect::has_clone_plugin);
    has_plugin
        && match method {
            Method::ClonePlugin => true,
            Method::BackupTool => false,
            Method::Auto => tool.is_none_or(|tool| tool.misfit(server).is_some()),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plugin_is_used_if_present_and_no_tool_fits() {
        assert!(copies_server(Method::Auto, None, "8.4.3") && copies_server(Method::ClonePlugin, None, "9.7.4-2"));
        assert!(
            !copies_server(Method::Auto, None, "10.11.19-MariaDB") && !copies_server(Method::BackupTool, None, "8.4.3")
        );
        assert!(!copies_server(Method::ClonePlugin, None, "8.0.16"));
    }
}

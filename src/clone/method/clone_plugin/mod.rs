//! A clone with no backup tool: a server of our own fetches it from the donor's, by MySQL's CLONE plugin.
//!
//! ```text
//!  stage/own    an empty database, on which our server runs while it fetches       thrown away
//!  stage/data   what it fetched                                                    received
//!                 └─ our server is started on it: recovers it, tells its position,
//!                    forgets the donor's source, stops                             prepared
//! ```
//!
//! Our server listens on a socket in the stage only, writes no binary log, starts no replication and no event, and is
//! killed with us. What it needs from the donor's settings came with the offer. Facts about the plugin are from MySQL's
//! reference manual and seen with 9.7.

pub mod donor;
mod donor_lease;
mod donors_settings;
mod fetch;
pub mod recipient;
mod recovered_copy;

pub use donor_lease::HeldTurn;
pub use fetch::{Fetch, Fetched, Trouble};
pub use recovered_copy::StartedCopy;

use crate::clone::method::backup_tool::BackupTool;
use crate::server::dialect::Dialect;
use crate::settings::Method;

/// Whether a donor's server is to be copied by the plugin, as far as the donor alone can tell.
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
    fn the_plugin_is_for_servers_that_have_it_and_no_tool_that_fits() {
        assert!(copies_server(Method::Auto, None, "8.4.3") && copies_server(Method::ClonePlugin, None, "9.7.4-2"));
        assert!(
            !copies_server(Method::Auto, None, "10.11.19-MariaDB") && !copies_server(Method::BackupTool, None, "8.4.3")
        );
        assert!(!copies_server(Method::ClonePlugin, None, "8.0.16"));
    }
}

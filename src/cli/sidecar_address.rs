//! How to ask this pod's sidecar.

use std::net::SocketAddr;

use clap::Args;

use super::address;

/// How to ask this pod's sidecar.
#[derive(Args, Debug)]
pub struct SidecarAddress {
    /// Address of the sidecar's health.
    #[arg(long, env = "MYSQLSET_SIDECAR", default_value = "127.0.0.1:8307", value_name = "ADDRESS:PORT",
          value_parser = address::parse)]
    pub sidecar: SocketAddr,
}

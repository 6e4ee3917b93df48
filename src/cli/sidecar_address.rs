//! How to ask this pod's sidecar.

use std::net::SocketAddr;

use clap::Args;

use super::{address, heading};

/// How to ask this pod's sidecar.
#[derive(Args, Debug)]
pub struct SidecarAddress {
    /// Address of the sidecar's health.
    #[arg(
        long,
        help_heading = heading::PORTS,
        env = "MYSQLSET_SIDECAR",
        value_parser = address::parse,
        default_value = "127.0.0.1:8307",
        value_name = "ADDRESS:PORT",
    )]
    pub sidecar: SocketAddr,
}

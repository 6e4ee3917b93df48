//! Flags of `mysqlset drain`.

use std::time::Duration;

use clap::Args;

use super::sidecar_address::SidecarAddress;
use super::{heading, time};
use crate::settings;

#[derive(Args, Debug)]
pub struct DrainArgs {
    #[command(flatten)]
    pub sidecar: SidecarAddress,

    #[command(flatten)]
    pub limit: DrainLimit,
}

/// How long a clone keeps its donor from ending.
#[derive(Args, Debug)]
pub struct DrainLimit {
    /// Time that a running clone gets when the pod is to end. Keep it below the pod's grace period.
    #[arg(
        long,
        help_heading = heading::LIMITS,
        env = "MYSQLSET_DRAIN_TIMEOUT",
        value_parser = time::any,
        default_value = "90s",
        value_name = "TIME",
    )]
    pub drain_timeout: Duration,
}

impl DrainArgs {
    pub fn checked(&self) -> settings::Drain {
        settings::Drain { sidecar: self.sidecar.sidecar, limit: self.limit.drain_timeout }
    }
}

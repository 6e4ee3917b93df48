//! Flags of `mysqlset drain`.

use std::time::Duration;

use clap::Args;

use super::seconds;
use super::sidecar_address::SidecarAddress;
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
    /// How long a running clone may go on when the pod is to end, in seconds; keep it below the pod's grace period.
    #[arg(long, env = "MYSQLSET_DRAIN_TIMEOUT", default_value_t = 90, value_name = "SECONDS", value_parser = seconds::any())]
    pub drain_timeout: u64,
}

impl DrainArgs {
    pub fn checked(&self) -> settings::Drain {
        settings::Drain { sidecar: self.sidecar.sidecar, limit: Duration::from_secs(self.limit.drain_timeout) }
    }
}

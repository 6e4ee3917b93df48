//! Flags of `mysqlset probe`.

use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};

use super::seconds;
use super::server::ServerArgs;
use super::sidecar_address::SidecarAddress;
use crate::settings;

#[derive(Args, Debug)]
pub struct ProbeArgs {
    #[command(subcommand)]
    pub question: Question,

    /// Time without an answer that counts as a no, in seconds; keep it below the probe's timeoutSeconds.
    #[arg(long, global = true, env = "MYSQLSET_TIMEOUT", default_value_t = 4, value_name = "SECONDS",
          value_parser = seconds::some())]
    pub timeout: u64,

    /// Time for which a server or a sidecar that has not come up yet is asked again before the answer is no, in seconds: a
    /// normal start then has no failed probe. Together with the timeout keep it below the probe's timeoutSeconds.
    #[arg(long, global = true, env = "MYSQLSET_WHILE_STARTING", default_value_t = 0, value_name = "SECONDS", value_parser = seconds::any())]
    pub while_starting: u64,
}

/// What a probe asks.
#[derive(Subcommand, Debug)]
pub enum Question {
    /// Whether the server answers over TCP, be it that it turns us away: not while it recovers, nor the temporary one
    /// that an image's entrypoint runs.
    Alive(ServerArgs),
    /// Whether clients may be sent to this pod, as its sidecar says.
    Ready(ReadyArgs),
}

#[derive(Args, Debug)]
pub struct ReadyArgs {
    #[command(flatten)]
    pub sidecar: SidecarAddress,

    /// Lag above which a replica is not ready, in seconds; without it lag doesn't matter.
    #[arg(long, env = "MYSQLSET_MAX_LAG", value_name = "SECONDS", value_parser = seconds::any())]
    pub max_lag: Option<u64>,
}

impl ProbeArgs {
    pub fn checked(self) -> Result<settings::Probe> {
        let question = match self.question {
            Question::Alive(args) => settings::Question::Alive { server: args.server()?, account: args.account()? },
            Question::Ready(args) => settings::Question::Ready {
                sidecar: args.sidecar.sidecar,
                max_lag: args.max_lag.map(Duration::from_secs),
            },
        };
        Ok(settings::Probe {
            question,
            timeout: Duration::from_secs(self.timeout),
            while_starting: Duration::from_secs(self.while_starting),
        })
    }
}

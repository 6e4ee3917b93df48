//! Flags of `mysqlset probe`.

use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};

use super::server::ServerArgs;
use super::sidecar_address::SidecarAddress;
use super::{heading, time};
use crate::settings;

#[derive(Args, Debug)]
pub struct ProbeArgs {
    #[command(subcommand)]
    pub question: ProbeCommand,

    /// Time without an answer that counts as a failure. Keep it below the probe's timeoutSeconds.
    #[arg(
        long,
        global = true,
        help_heading = heading::LIMITS,
        env = "MYSQLSET_TIMEOUT",
        value_parser = time::some,
        default_value = "4s",
        value_name = "TIME",
    )]
    pub timeout: Duration,

    /// How long to keep asking a server or a sidecar that is still starting, so that a normal start has no failed probe.
    /// Keep the sum with --timeout below the probe's timeoutSeconds.
    #[arg(
        long,
        global = true,
        help_heading = heading::LIMITS,
        env = "MYSQLSET_WHILE_STARTING",
        value_parser = time::any,
        default_value = "0s",
        value_name = "TIME",
    )]
    pub while_starting: Duration,
}

/// What a probe asks.
#[derive(Subcommand, Debug)]
pub enum ProbeCommand {
    /// Succeeds if the server accepts TCP connections, even if it denies access. Fails during crash recovery and for an
    /// entrypoint's temporary server.
    Alive(ServerArgs),
    /// Succeeds if the sidecar says that clients may be sent to this pod.
    Ready(ReadyArgs),
}

#[derive(Args, Debug)]
pub struct ReadyArgs {
    #[command(flatten)]
    pub sidecar: SidecarAddress,

    /// Lag above which a replica is not ready. By default lag is ignored.
    #[arg(
        long,
        help_heading = heading::LIMITS,
        env = "MYSQLSET_MAX_LAG",
        value_parser = time::any,
        value_name = "TIME",
    )]
    pub max_lag: Option<Duration>,
}

impl ProbeArgs {
    pub fn checked(self) -> Result<settings::Probe> {
        let question = match self.question {
            ProbeCommand::Alive(args) => settings::Question::Alive { server: args.server()?, account: args.account()? },
            ProbeCommand::Ready(args) => {
                settings::Question::Ready { sidecar: args.sidecar.sidecar, max_lag: args.max_lag }
            }
        };
        Ok(settings::Probe { question, timeout: self.timeout, while_starting: self.while_starting })
    }
}

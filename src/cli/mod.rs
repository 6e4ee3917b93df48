//! Flags and variables. Each flag `--some-name` has the variable `MYSQLSET_SOME_NAME`; with none set, each command
//! does what the Kubernetes tutorial's script did, in the tutorial's paths.
//!
//! Secrets have no flag: a flag would show them in the list of processes. They come from `MYSQLSET_…` variables or
//! from files that `--…-file` flags name, and are read as soon as the flags are.
//!
//! A command's file holds its flags and, in `checked`, how they fill the plain struct of [`crate::settings`] that the
//! command runs by.

mod accounts;
mod address;
mod bytes;
mod clone;
mod data;
mod drain;
mod init_config;
mod install;
mod peers;
mod probe;
mod process;
mod seconds;
mod server;
mod sidecar;
mod sidecar_address;

use anyhow::Result;
use clap::{Parser, Subcommand};

pub use accounts::ManagedArgs;
pub use clone::CloneArgs;
pub use data::DataArgs;
pub use drain::{DrainArgs, DrainLimit};
pub use init_config::InitConfigArgs;
pub use install::InstallArgs;
pub use peers::PeerArgs;
pub use probe::{ProbeArgs, Question, ReadyArgs};
pub use process::ProcessArgs;
pub use server::ServerArgs;
pub use sidecar::SidecarArgs;
pub use sidecar_address::SidecarAddress;

use crate::commands::{self, Outcome};
pub use crate::settings::{Method, OnBrokenReplica, OnHalfMade, OnLostPrimary, Rehearse, WireCompression};

/// Runs MySQL and MariaDB replicas in a StatefulSet: configuration, clones, replication.
#[derive(Parser, Debug)]
#[command(name = "mysqlset", version, propagate_version = true, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,

    #[command(flatten)]
    pub process: ProcessArgs,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Writes the server's configuration for this pod: server-id.cnf and the role's file (init container).
    InitConfig(InitConfigArgs),
    /// Fills an empty data directory with a clone of another pod's data (init container).
    Clone(CloneArgs),
    /// Starts replication, then serves clones, health and metrics for ever (container beside the server).
    Sidecar(Box<SidecarArgs>),
    /// Copies this program into a directory, for containers of images that don't have it (init container).
    Install(InstallArgs),
    /// Asks this pod's server or sidecar how it is: exit code 0, or 1 and why not (probes).
    Probe(ProbeArgs),
    /// Waits while this pod's sidecar serves a clone, which would break off if its server stopped now (preStop hook of the
    /// server).
    Drain(DrainArgs),
    /// Prints a link to all that this pod's sidecar knows, valid for ten minutes: to be opened behind kubectl port-forward.
    Link(SidecarAddress),
}

impl Cli {
    /// Checks the settings, then runs the command.
    pub fn run(self) -> Result<Outcome> {
        let process = &self.process;
        match self.command {
            Command::InitConfig(args) => commands::init_config(&args.checked(process)?),
            Command::Clone(args) => commands::clone(args.checked(process)?),
            Command::Sidecar(args) => commands::sidecar(args.checked(process)?),
            Command::Install(args) => commands::install(&args.to),
            Command::Probe(args) => commands::probe(&args.checked()?),
            Command::Link(args) => commands::link(args.sidecar),
            Command::Drain(args) => commands::drain(&args.checked()),
        }
    }
}

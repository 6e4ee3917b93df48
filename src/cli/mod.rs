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
mod completions;
mod data;
mod drain;
mod heading;
mod init_config;
mod install;
mod man;
mod peers;
mod probe;
mod process;
mod server;
mod sidecar;
mod sidecar_address;
mod time;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};

pub use accounts::ManagedArgs;
pub use clone::CloneArgs;
pub use completions::CompletionsArgs;
pub use data::DataArgs;
pub use drain::{DrainArgs, DrainLimit};
pub use init_config::InitConfigArgs;
pub use install::InstallArgs;
pub use man::ManArgs;
pub use peers::PeerArgs;
pub use probe::{ProbeArgs, ProbeCommand, ReadyArgs};
pub use process::ProcessArgs;
pub use server::ServerArgs;
pub use sidecar::SidecarArgs;
pub use sidecar_address::SidecarAddress;

use crate::commands::{self, Outcome};
pub use crate::settings::{Method, OnBrokenReplica, OnHalfMade, OnLostPrimary, Rehearse, WireCompression};

/// The whole command line. What the program is for is said by Cargo.toml.
#[derive(Parser, Debug)]
#[command(name = "mysqlset", version, about, propagate_version = true)]
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
    /// Starts replication, then serves clones, health and metrics until it is stopped (container beside the server).
    Sidecar(Box<SidecarArgs>),
    /// Copies this program into a directory, for containers whose images lack it (init container).
    Install(InstallArgs),
    /// Asks this pod's server or sidecar how it is: exit code 0, or 1 with the reason (probes).
    Probe(ProbeArgs),
    /// Waits while this pod's sidecar serves a clone, which would break if the server stopped now (preStop hook of the
    /// server).
    Drain(DrainArgs),
    /// Prints a link to this pod's /status, valid for ten minutes. Open it behind kubectl port-forward.
    Link(SidecarAddress),
    /// Prints completions for a shell.
    Completions(CompletionsArgs),
    /// Prints the manual page of the program, or of a command: mysqlset man clone | man -l -
    Man(ManArgs),
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
            Command::Completions(args) => args.print(Cli::command()).map(|()| Outcome::Done),
            Command::Man(args) => args.print(Cli::command()).map(|()| Outcome::Done),
            Command::Link(args) => commands::link(args.sidecar),
            Command::Drain(args) => commands::drain(&args.checked()),
        }
    }
}

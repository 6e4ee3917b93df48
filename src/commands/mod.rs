//! One file for each subcommand, its body the steps of its story.

mod clone;
mod drain;
pub mod ending;
mod init_config;
mod install;
mod link;
mod outcome;
mod probe;
mod runtime;
mod sidecar;
mod sidecar_client;

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;

use crate::settings::{CloneSettings, Drain, InitConfig, Probe, Sidecar};
pub use outcome::Outcome;
use runtime::{runtime, until_terminated};

/// `mysqlset init-config`.
pub fn init_config(settings: &InitConfig) -> Result<Outcome> {
    init_config::run(settings)?;
    Ok(Outcome::Done)
}

/// `mysqlset clone`.
pub fn clone(settings: CloneSettings) -> Result<Outcome> {
    until_terminated(move || clone::run(&settings))
}

/// `mysqlset sidecar`.
pub fn sidecar(settings: Sidecar) -> Result<Outcome> {
    sidecar::run(settings)
}

/// `mysqlset install`.
pub fn install(to: &Path) -> Result<Outcome> {
    install::run(to)?;
    Ok(Outcome::Done)
}

/// `mysqlset probe`.
pub fn probe(settings: &Probe) -> Result<Outcome> {
    runtime()?.block_on(probe::run(settings))
}

/// `mysqlset link`.
pub fn link(sidecar: SocketAddr) -> Result<Outcome> {
    runtime()?.block_on(link::run(sidecar))
}

/// `mysqlset drain`.
pub fn drain(settings: &Drain) -> Result<Outcome> {
    runtime()?.block_on(drain::run(settings))
}

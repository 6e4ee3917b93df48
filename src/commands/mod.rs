//! One file for each subcommand, its body the steps of its story.

mod ask;
mod clone;
mod drain;
mod init_config;
mod install;
mod link;
mod probe;
mod sidecar;

use std::thread::Builder;

use anyhow::{Context, Result};
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot::{Receiver, channel};

use crate::cli::{Cli, Command};
use crate::event::info;
use crate::limits;
use crate::pid1;
use crate::stop;

/// How a command ended that did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did what it is for.
    Done,
    /// It was told to stop before.
    Terminated,
    /// The answer is no, and why.
    No(String),
}

/// Checks the settings, then runs the command.
pub fn run(cli: Cli) -> Result<Outcome> {
    match cli.command {
        Command::InitConfig(args) => {
            init_config::run(&args.checked(&cli.process)?)?;
            Ok(Outcome::Done)
        }
        Command::Clone(args) => {
            let settings = args.checked(&cli.process)?;
            until_terminated(move || clone::run(&settings))
        }
        Command::Sidecar(args) => sidecar::run(args.checked(&cli.process)?),
        Command::Install(args) => {
            install::run(&args.to)?;
            Ok(Outcome::Done)
        }
        Command::Probe(args) => {
            let settings = args.checked()?;
            runtime()?.block_on(probe::run(&settings))
        }
        Command::Completions(args) => args.print().map(|()| Outcome::Done),
        Command::Man(args) => args.print().map(|()| Outcome::Done),
        Command::Link(args) => runtime()?.block_on(link::run(args.sidecar)),
        Command::Drain(args) => runtime()?.block_on(drain::run(&args.checked())),
    }
}

/// Runs `work` on a thread of its own until it is done or the process is told to stop. A container's first process
/// has to ask for SIGTERM: unasked, the kernel keeps it from it, and each deletion of the pod takes its whole grace
/// period.
fn until_terminated(work: impl FnOnce() -> Result<()> + Send + 'static) -> Result<Outcome> {
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        bear_limits()?;
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::spawn(pid1::reap_orphans());
        tokio::select! {
            done = on_thread(work)? => return done.context("the command's thread has panicked")?.map(|()| Outcome::Done),
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!(Stopped, "told to stop; the next start goes on from here");
        stop::end_all().await;
        Ok(Outcome::Terminated)
    });
    runtime.shutdown_background();
    outcome
}

/// Unlike the runtime, this tells where no thread can be had.
fn on_thread(work: impl FnOnce() -> Result<()> + Send + 'static) -> Result<Receiver<Result<()>>> {
    let (done, is_done) = channel();
    let runtime = Handle::current();
    let run = move || {
        let _runtime = runtime.enter();
        // Nobody waits where the process was told to stop.
        let _ = done.send(work());
    };
    Builder::new()
        .name("command".into())
        .spawn(run)
        .map_err(limits::explain)
        .context("starting the command's thread")?;
    Ok(is_done)
}

/// Raises what limits of this process may be raised. A file that grows too large is an error of its own then: without a handler
/// its signal ends the process, without a word. Children have their own way with it.
fn bear_limits() -> Result<()> {
    limits::raise_soft_limits();
    // Dropped, it leaves the handler where it is.
    signal(SignalKind::from_raw(libc::SIGXFSZ)).map(drop).context("waiting for SIGXFSZ")
}

/// One thread for the control plane; clones and other work that blocks get threads of their own, for as long as they
/// need them.
fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(32)
        .thread_keep_alive(std::time::Duration::from_secs(1))
        .build()
        .context("starting the runtime")
}

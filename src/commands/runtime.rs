//! How a command is run: on a thread of its own until it is done or the process is told to stop; with one thread for the
//! control plane.

use std::thread::Builder;

use anyhow::{Context, Result};
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot::{Receiver, channel};

use super::outcome::Outcome;
use crate::model::event::info;
use crate::sys::limits;
use crate::sys::pid1;
use crate::sys::stop;

/// Runs `work` on a thread of its own until it is done or the process is told to stop. A container's first process
/// has to ask for SIGTERM: unasked, the kernel keeps it from it, and each deletion of the pod takes its whole grace
/// period.
pub fn until_terminated(work: impl FnOnce() -> Result<()> + Send + 'static) -> Result<Outcome> {
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
pub fn bear_limits() -> Result<()> {
    limits::raise_soft_limits();
    // Dropped, it leaves the handler where it is.
    signal(SignalKind::from_raw(libc::SIGXFSZ)).map(drop).context("waiting for SIGXFSZ")
}

/// One thread for the control plane; clones and other work that blocks get threads of their own, for as long as they
/// need them.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(32)
        .thread_keep_alive(std::time::Duration::from_secs(1))
        .build()
        .context("starting the runtime")
}

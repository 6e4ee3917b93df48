//! Starts every process of the harness from one thread that lives as long as the test process. A child that asks to die
//! with its parent dies with the *thread* that started it.

use std::process::{Child, Command};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};

use anyhow::{Context, Result};

type Job = (Command, Sender<std::io::Result<Child>>);

static SPAWNER: OnceLock<Mutex<Sender<Job>>> = OnceLock::new();

/// Spawns a command whose process is to die with this one.
pub fn spawn(command: Command) -> Result<Child> {
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, jobs) = channel::<Job>();
        std::thread::Builder::new()
            .name("spawner".into())
            .spawn(move || {
                for (mut command, answer) in jobs {
                    let _ = answer.send(command.spawn());
                }
            })
            .expect("a thread");
        Mutex::new(sender)
    });
    let what = format!("{command:?}");
    let (answer, child) = channel();
    spawner.lock().expect("the spawner's lock").send((command, answer)).context("the spawner is gone")?;
    child.recv().context("the spawner is gone")?.with_context(|| format!("starting {what}"))
}

/// Runs a short command to its end; its output is in the error where it fails.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim().to_owned();
    anyhow::ensure!(output.status.success(), "{command:?} ended with {}: {text}", output.status);
    Ok(text)
}

/// A process's child, where it has one by now.
pub fn child_of(pid: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// Kills and reaps.
pub fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

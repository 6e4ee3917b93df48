//! Processes: killed when dropped, and awaited until a deadline.

use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// The pause between two looks at a condition.
const PERIOD: Duration = Duration::from_millis(5);

pub struct Process(Child);

impl Process {
    pub fn start(command: &mut Command) -> Result<Process> {
        Ok(Process(command.spawn().with_context(|| format!("starting {command:?}"))?))
    }

    /// Its exit status, if it has ended by then.
    pub fn wait_until(&mut self, deadline: Instant) -> Result<Option<ExitStatus>> {
        loop {
            let ended = self.0.try_wait()?;
            if ended.is_some() || Instant::now() >= deadline {
                return Ok(ended);
            }
            std::thread::sleep(PERIOD.min(deadline.saturating_duration_since(Instant::now())));
        }
    }

    pub fn kill(&mut self) -> Result<()> {
        Ok(self.0.kill()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a short command to its end. If it fails, the error contains its output.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}: {error}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Asks again and again until there is an answer.
pub fn wait_for<T>(what: &str, patience: Duration, mut attempt: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = attempt()? {
            return Ok(found);
        }
        ensure!(Instant::now() < deadline, "waited {} seconds for {what}", patience.as_secs());
        std::thread::sleep(PERIOD);
    }
}

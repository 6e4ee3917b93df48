//! `make torture ROUNDS=200 SEED=n`: a set of three under writes. Its containers are killed at random moments.
//!
//! `ROUND=n` repeats one round of a seed alone. `TABLES=n` is the number of tables beside the busiest ones; the default
//! exceeds a container's initial file descriptors. Every server has its event scheduler on.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use harness::torture::Torture;
use harness::variable;

/// Tables, one file each.
const TABLES: u32 = 1500;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let seed = variable("SEED")?.unwrap_or(clock);
    let rounds = match (variable("ROUND")?, variable("ROUNDS")?) {
        (Some(alone), _) => alone..=alone,
        (None, rounds) => 1..=rounds.unwrap_or(200),
    };
    println!("SEED={seed}, rounds {} to {}", rounds.start(), rounds.end());
    let mut torture = Torture::start(seed, variable("TABLES")?.unwrap_or(TABLES))?;
    let outcome = torture.run(rounds);
    print!("\n{}", torture.summary());
    outcome
}

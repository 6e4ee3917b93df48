//! `make torture ROUNDS=200 SEED=n`: a set of three under writes, whose containers are killed at random moments.
//!
//! `ROUND=n` repeats one round of a seed alone. `TABLES=n` is how many tables there are beside those written to most: by
//! default more than a container has file descriptors to begin with. Every server has its event scheduler on.

#[path = "../pods/mod.rs"]
mod pods;
#[path = "../scenarios/set.rs"]
#[allow(dead_code, reason = "the scenarios use the rest")]
mod set;

#[path = "rounds.rs"]
mod rounds;

use std::process::ExitCode;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use rounds::Torture;

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

/// An empty one counts as none: that is what make passes on.
fn variable<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(name: &str) -> Result<Option<T>> {
    let text = std::env::var(name).unwrap_or_default();
    let parsed = (!text.is_empty()).then(|| text.parse()).transpose();
    parsed.with_context(|| format!("{name}={text}"))
}

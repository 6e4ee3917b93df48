//! `left_out PROGRAM [WORD...]`: has the runner skip the tests of `tests/PROGRAM/` that the tested server cannot run.
//!
//! It prints the runner's options, and notes the tests in the file that `NOT_TESTED` names. Words limit it to the tests
//! whose names contain one of them, like the runner's own words. `SERVER` names the tested server.

use anyhow::{Context, Result, ensure};
use harness::needs::{note, of_program};
use harness::pods::servers::tested;

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let program = words.next().context("left_out PROGRAM [WORD...]")?;
    let words: Vec<String> = words.collect();
    let is_meant = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    let tests = of_program(&program)?;
    for test in tests.iter().filter(|test| is_meant(&test.name)) {
        let Some(why) = test.needs.and_then(|needs| tested().lacks(needs)) else { continue };
        // The runner applies a name to all names that contain it.
        let others = tests.iter().filter(|other| other.name != test.name && other.name.contains(&test.name));
        ensure!(others.count() == 0, "{} is part of another test's name", test.name);
        note(&format!("{program}::{}", test.name), why);
        println!("--skip {}", test.name);
    }
    Ok(())
}

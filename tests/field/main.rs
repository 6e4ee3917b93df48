//! `make field`: the main scenarios under conditions of the field, on every available server.
//!
//! `ONLY=condition[,condition]/scenario/server` makes one run. An empty part stands for all: `ONLY=small-packets//` is
//! a condition in every scenario on every server. `LANES=n` is the number of runs side by side. After `MINUTES=n` no
//! further run begins. `PATIENCE=n` multiplies the usual limit of a wait. `RESUME=1` repeats the runs that failed and
//! makes those that are missing. Without `FIELD`, as in `make test`, there are three runs.
//!
//! Each run is a process of its own, because a process tests one server for its whole life.

mod plan;
mod record;
mod run;
mod scenarios;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::{project, single_test, variable};

use plan::{Known, Plan, Run};
use record::{Outcome, Record};

/// A set spends most of its time waiting, so two cores run two at once.
const LANES: usize = 2;

/// The limit for all runs together.
const MINUTES: u64 = 120;

/// The runs of `make test`: short, with one of each kind.
const SELECTION: [&str; 3] = [
    "descriptors-1024,storage-directories,short-timeouts/first-start/mariadb-10.11",
    "cgroup-v1,no-autocommit,full-volume/volume-deletion/mariadb-10.11",
    "few-processes,sql-mode-oracle,read-only-volume/primary-loss/mariadb-10.11",
];

fn main() -> ExitCode {
    let outcome = match run::asked_for() {
        Some(outcome) => outcome,
        None if single_test::is_filtered_out("field") => Ok(ExitCode::SUCCESS),
        None => drive(),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("{error:#}");
        ExitCode::FAILURE
    })
}

fn drive() -> Result<ExitCode> {
    let known = Known::ask()?;
    let (is_whole, runs) = match (variable::<String>("ONLY")?, variable::<String>("FIELD")?) {
        (Some(only), _) => (false, Plan::only(&known, &only)?),
        (None, Some(_)) => (true, Plan::covering(&known)),
        (None, None) => (false, SELECTION.iter().map(|run| run.parse()).collect::<Result<_>>()?),
    };
    if let Some("plan") = variable::<String>("FIELD")?.as_deref() {
        runs.iter().for_each(|run| println!("{run}"));
        println!("{} runs", runs.len());
        return Ok(ExitCode::SUCCESS);
    }
    let lanes = number("LANES")?.unwrap_or(LANES).clamp(1, runs.len().max(1));
    let goes_on = variable::<String>("RESUME")?.is_some();
    let record = if is_whole && !goes_on { Record::new()? } else { Record::read()? };
    let to_make: Vec<Run> = runs.iter().filter(|run| !goes_on || !record.has_passed(run)).cloned().collect();
    println!("{} runs in {lanes} lanes", to_make.len());
    let limit = Duration::from_secs(60 * number("MINUTES")?.unwrap_or(MINUTES as usize) as u64);
    let record = work_off(&known, &to_make, lanes, limit, record)?;
    if is_whole {
        print!("\n{}", record.table(&known));
    } else {
        print!("\n{}", record.of(&runs).rows());
    }
    if is_whole || variable::<String>("RECORD")?.is_some() {
        record.write_docs(&known)?;
    }
    let failed = runs.iter().filter(|run| record.has_failed(run)).count();
    println!("{failed} of {} runs failed; logs: {}", runs.len(), run::place().display());
    let unmade = runs.iter().filter(|run| record.ran_out_of_time(run)).count();
    if unmade > 0 {
        println!("{unmade} were NOT made, for the time was up: MINUTES=n gives more, or ONLY makes some");
    }
    Ok(if failed + unmade == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Makes all runs; each free lane takes the next one. A failed combination is taken apart.
fn work_off(known: &Known, runs: &[Run], lanes: usize, limit: Duration, record: Record) -> Result<Record> {
    let (began, next, record) = (Instant::now(), Mutex::new(runs.iter()), Mutex::new(record));
    std::thread::scope(|scope| {
        let lane = || -> Result<()> {
            loop {
                let Some(run) = next.lock().expect("runs").next() else { return Ok(()) };
                let outcomes = if began.elapsed() > limit {
                    vec![(run.clone(), Outcome::NotRun(record::TIME_IS_UP.into()))]
                } else {
                    make(known, run)?
                };
                let mut record = record.lock().expect("record");
                for (run, outcome) in outcomes {
                    println!("{:6} s  {run}: {outcome}", began.elapsed().as_secs());
                    record.add(&run, outcome)?;
                }
            }
        };
        let threads: Vec<_> = (0..lanes).map(|_| scope.spawn(lane)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a lane panicked"))?)
    })?;
    Ok(record.into_inner().expect("record"))
}

/// Makes a run. Where several conditions together fail, each is tried alone, to find the one at fault.
fn make(known: &Known, run: &Run) -> Result<Vec<(Run, Outcome)>> {
    let outcome = run::make(known, run)?;
    let mut outcomes = vec![(run.clone(), outcome)];
    if matches!(outcomes[0].1, Outcome::Failed(_)) && run.conditions.len() > 1 {
        for condition in &run.conditions {
            let alone = Run { conditions: vec![condition.clone()], ..run.clone() };
            outcomes.push((alone.clone(), run::make(known, &alone)?));
        }
    }
    Ok(outcomes)
}

/// The directory of results and logs.
fn kept() -> PathBuf {
    project().join("target/field")
}

fn number(name: &str) -> Result<Option<usize>> {
    let number = variable(name)?;
    ensure!(number != Some(0), "{name} is 1 at least");
    Ok(number)
}

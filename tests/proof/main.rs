//! `make proof`: only a whole copy is published. Tools and clones are killed and run out of descriptors and room, and
//! copies are damaged on their way. Each published copy is compared with its donor, table by table.
//!
//! `SEED=n` makes other rounds of the same kinds. `ROUND=n` repeats one alone, `ROUNDS=n` runs that many of all, and
//! `ONLY=kind` runs those of a kind. `LANES=n` is the number of rounds side by side. `PROGRAM=path` proves another
//! build: an old one must fail. Without these variables, as in `make test`, there are ten rounds.

mod comparison;
mod damage;
mod data;
mod donor;
mod noticed;
mod orders;
mod plan;
mod process;
mod recipient;
mod room;
mod round;
mod server;
mod tally;
mod tool;
mod volume;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use harness::pods::servers::tested;
use harness::{kept, single_test, variable};

use plan::{KINDS, Round};
use room::Room;
use round::Lane;
use tally::Tally;

/// A clone spends most of its time waiting for its donor's tool, so two cores run three at once.
const LANES: usize = 3;

fn main() -> ExitCode {
    let outcome = match tool::called() {
        Some(outcome) => outcome,
        None if single_test::is_filtered_out("proof") => Ok(ExitCode::SUCCESS),
        None => room::enter().and_then(|room| match room {
            Room::Inside(work) => run(&work),
            Room::Ended(code) => Ok(code),
        }),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("{error:#}");
        ExitCode::FAILURE
    })
}

fn run(work: &Path) -> Result<ExitCode> {
    ensure!(tested().is_mariadb(), "the proof needs a backup tool; SERVER is mariadb-10.11 or mariadb-11.8");
    let page = include_str!("../../docs/how-it-works/proof.md").split_whitespace().collect::<Vec<_>>().join(" ");
    for listed in damage::expected::LISTED {
        ensure!(page.contains(listed), "docs/how-it-works/proof.md does not list {listed:?}");
    }
    let seed = variable("SEED")?.unwrap_or(1);
    let rounds = rounds(seed)?;
    let lanes = variable("LANES")?.unwrap_or(LANES).min(rounds.len());
    println!("SEED={seed}, {} rounds in {lanes} lanes on {}", rounds.len(), tested().title());
    let (began, tally, next) = (Instant::now(), Mutex::new(Tally::default()), Mutex::new(rounds.iter()));
    std::thread::scope(|scope| {
        let work_off = |number: usize| -> Result<()> {
            let mut lane = Lane::new(number as u8, work)?;
            loop {
                let Some(round) = next.lock().expect("rounds").next() else { return Ok(()) };
                let outcome = lane.run(round).map_err(|error| {
                    let kept = keep_logs(&lane, seed, round);
                    let kept = kept.map_or_else(|error| format!("{error:#}"), |path| path.display().to_string());
                    error.context(format!("make proof SEED={seed} ROUND={}; logs: {kept}", round.number))
                });
                let line = tally.lock().expect("tally").round(round, &outcome);
                println!("{line}");
            }
        };
        let threads: Vec<_> = (0..lanes).map(|number| scope.spawn(move || work_off(number))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a lane panicked"))?)
    })?;
    let tally = tally.into_inner().expect("tally");
    println!("{tally}in {} seconds", began.elapsed().as_secs());
    Ok(if tally.violations().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn rounds(seed: u64) -> Result<Vec<Round>> {
    if let Some(number) = variable::<u64>("ROUND")? {
        let found: Vec<Round> = plan::all(seed).into_iter().filter(|round| round.number == number).collect();
        ensure!(!found.is_empty(), "ROUND={number}: there is no such round");
        return Ok(found);
    }
    let only: Option<String> = variable("ONLY")?;
    let count = match variable::<String>("ROUNDS")? {
        Some(all) if all == "all" => Some(usize::MAX),
        _ => variable::<usize>("ROUNDS")?,
    };
    let mut rounds = match (&only, count) {
        (None, None) => return Ok(plan::spread(seed)),
        _ => plan::all(seed),
    };
    if let Some(only) = only {
        let Some(kind) = KINDS.into_iter().find(|kind| kind.name() == only) else {
            bail!("ONLY={only}: it is one of {}", KINDS.map(|kind| kind.name()).join(", "));
        };
        rounds.retain(|round| round.kind() == kind);
    }
    let all = rounds.len();
    let count = count.unwrap_or(all).min(all);
    Ok((0..count).map(|number| rounds[number * all / count]).collect())
}

fn keep_logs(lane: &Lane, seed: u64, round: &Round) -> Result<PathBuf> {
    let place = kept().join(format!("proof-{seed}-{}", round.number));
    std::fs::create_dir_all(&place)?;
    for log in lane.logs(round.data).iter().filter(|log| log.exists()) {
        std::fs::copy(log, place.join(log.file_name().context("a log's name")?))?;
    }
    Ok(place)
}

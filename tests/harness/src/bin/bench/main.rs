//! `make bench`: the cost of a clone, against the tutorial's pipeline, the backup tool alone, and a bare loop.
//!
//! `RUNS=n` sets the number of runs; `ONLY=transfer,clone` measures parts alone. Within a run the peer and mysqlset
//! alternate, so a slowdown of the machine affects both. `DISK=memory` keeps both pods' volumes in memory: then the
//! figures show the programs alone, without this machine's disk. `LINK=200` limits the link between the pods to 200
//! MB/s. The medians are in `target/bench.json`, all samples and the machine's description in `target/bench-raw.json`.
//! Runs of some parts, fewer than three runs, runs in memory and over a slow link go to `target/bench-part.json` and
//! `target/bench-part-raw.json`. A missed bar ends the bench with exit code 1.

mod clone;
mod copy;
mod data;
mod disk;
mod donor;
mod figures;
mod floor;
mod inventory;
mod machine;
mod manifest;
mod member;
mod pipeline;
mod prepare;
mod process;
mod recipient;
mod rehearsal;
mod room;
mod server;
mod streams;
mod table;

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use harness::{project, variable};
use serde_json::json;

use data::{Data, Database};
use figures::Figures;

/// The parts that can be measured alone.
const PARTS: [&str; 6] = ["transfer", "clone", "prepare", "rehearsal", "inventory", "small_files"];

/// The default. With three, two samples in a bad moment of a shared machine make a bad median.
const RUNS: usize = 5;

/// The fewest runs for a median.
const FEWEST_RUNS: usize = 3;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.split_first() {
        Some((first, rest)) if first == floor::COMMAND => floor::receive(rest).map(|()| ExitCode::SUCCESS),
        _ => run(),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("{error:#}");
        ExitCode::FAILURE
    })
}

fn run() -> Result<ExitCode> {
    let (runs, parts) = (runs()?, parts()?);
    let is_whole = runs >= FEWEST_RUNS && parts.len() == PARTS.len();
    let target = project().join("target");
    let (kept, work) = (target.join("bench"), target.join("bench/work"));
    if let Some(ended) = room::enter(&work)? {
        return Ok(ended);
    }
    let data = Data::open(&kept, &work)?;
    let mut figures = Figures::default();
    for part in parts {
        println!("\n── {part}");
        measure(part, &data, &work, runs, &mut figures).with_context(|| format!("measuring {part}"))?;
    }
    figures.check(runs)?;

    let (table, missed) = table::of(&figures);
    println!("\nMedians of {runs} runs:\n\n{table}");
    if runs < FEWEST_RUNS {
        println!("Fewer than {FEWEST_RUNS} runs say little.");
    }
    let is_whole = is_whole && !room::is_in_memory()? && room::link()?.is_none();
    let name = if is_whole { "bench" } else { "bench-part" };
    write(&target.join(format!("{name}.json")), &figures.medians())?;
    let raw = json!({"runs": runs, "machine": machine::describe(&work)?, "disk": std::env::var("DISK").ok(),
        "link": room::link()?, "samples": figures.raw()});
    write(&target.join(format!("{name}-raw.json")), &raw)?;
    if room::link()?.is_some() {
        println!("The bars are for a link without a limit: none counts here.");
        return Ok(ExitCode::SUCCESS);
    }
    if missed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("Above their bars: {}", missed.join(", "));
    Ok(ExitCode::FAILURE)
}

fn measure(part: &str, data: &Data, work: &Path, runs: usize, figures: &mut Figures) -> Result<()> {
    match part {
        "transfer" => streams::transfer(&near(data.large()?, work)?, work, runs, figures),
        "clone" => clone::measure(&near(data.large()?, work)?, work, runs, figures),
        "prepare" => prepare::measure(&data.busy()?, work, runs, figures),
        "rehearsal" => {
            rehearsal::measure(&data.large()?, "rehearsal.wall", work, runs, figures)?;
            rehearsal::measure(&data.small()?, "rehearsal.small_files_wall", work, runs, figures)
        }
        "inventory" => inventory::measure(&data.small()?, work, runs, figures),
        _ => streams::small_files(&near(data.small()?, work)?, work, runs, figures),
    }
}

/// If clones are received into memory, the donor too reads from there.
fn near(database: Database, work: &Path) -> Result<Database> {
    if !room::is_in_memory()? {
        return Ok(database);
    }
    let data_dir = work.join("donor");
    disk::remove(&data_dir)?;
    process::run(Command::new("cp").arg("--archive").arg(&database.data_dir).arg(&data_dir))?;
    Ok(Database { data_dir, ..database })
}

fn runs() -> Result<usize> {
    let runs = variable("RUNS")?.unwrap_or(RUNS);
    ensure!(runs > 0, "RUNS=0 measures nothing");
    Ok(runs)
}

/// The chosen parts, in their own order.
fn parts() -> Result<Vec<&'static str>> {
    let text = std::env::var("ONLY").unwrap_or_default();
    let wanted: Vec<&str> = text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    for name in &wanted {
        ensure!(PARTS.contains(name), "ONLY={text}: there is no {name:?}, but {}", PARTS.join(", "));
    }
    Ok(PARTS.into_iter().filter(|part| wanted.is_empty() || wanted.contains(part)).collect())
}

fn write(path: &Path, content: &serde_json::Value) -> Result<()> {
    let text = serde_json::to_string_pretty(content)? + "\n";
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

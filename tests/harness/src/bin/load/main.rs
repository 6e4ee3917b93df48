//! `make load`: the cost of strangers at one address for a set with a clone secret, on both of a pod's ports at once.
//!
//! Clones are made undisturbed, then while 1,000 connections to each port are held idle, then while 2,000 connections a
//! second bring garbage; each for half a minute. Meanwhile the donor's sidecar is probed and watched. The table is in
//! docs/reference/security.md. A missed bar ends it with exit code 1.

mod table;
mod watch;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::pods::{Cluster, PATIENCE};
use harness::set;
use harness::throng::{Throng, while_thronged};
use mysqlset::model::event::Event;

use table::{Row, Table};
use watch::Watch;

/// A clone of this size takes seconds.
const MEGABYTES: u32 = 200;

/// The minimum time of each throng; each clone in it is complete.
const WHILE: Duration = Duration::from_secs(30);

/// The number of undisturbed clones.
const UNDISTURBED: usize = 5;

const PORTS: [u16; 2] = [3307, 8307];

const SECRET: &str = "geheim-und-sehr-lang";

fn main() -> ExitCode {
    match measure() {
        Ok(missed) if missed.is_empty() => ExitCode::SUCCESS,
        Ok(missed) => {
            eprintln!("missed: {}", missed.join("; "));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<Vec<String>> {
    let wanted = 16_384;
    let mut limits = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limits.current = Some(limits.maximum.map_or(wanted, |most| most.min(wanted)));
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limits)?;
    let cluster = set::start_with_secret(2, SECRET)?;
    cluster.wait_ready(2)?;
    set::fill(&cluster)?;
    set::fill_much(&cluster, MEGABYTES)?;
    // The first clone after the rows came is unlike the others: the server still writes.
    clone(&cluster)?;

    // Kubelet has an address of its own.
    let observer = cluster.shared.network.add_pod("observer", 240)?;
    let mut table = Table::default();
    let begun = Instant::now();
    let (seconds, seen) = Watch::over(&cluster, &observer, || (0..UNDISTURBED).map(|_| clone(&cluster)).collect())?;
    table.add(Row { name: "undisturbed", seconds, seen, connections_a_second: None, took: begun.elapsed() });
    for (name, throng) in [
        ("1,000 held idle on each port", Throng::Idle { count: 1000, again: Duration::from_secs(1) }),
        ("2,000 a second of garbage", Throng::Garbage { per_second: 2000 }),
    ] {
        let begun = Instant::now();
        let ((seconds, seen), made) = while_thronged(&cluster, "mysql-0", &PORTS, throng, || {
            Watch::over(&cluster, &observer, || {
                let mut seconds = Vec::new();
                while begun.elapsed() < WHILE {
                    seconds.push(clone(&cluster)?);
                }
                Ok(seconds)
            })
        })?;
        let took = begun.elapsed();
        let rate = made as f64 / took.as_secs_f64();
        if let Throng::Garbage { per_second } = throng {
            ensure!(
                rate > 0.9 * per_second as f64,
                "this machine makes {rate:.0} connections a second, not {per_second}"
            );
        }
        table.add(Row { name, seconds, seen, connections_a_second: Some(rate), took });
    }
    ensure!(
        cluster.status("mysql-0")?.containers["sidecar"].restarts == 0,
        "the sidecar was restarted: {:?}",
        cluster.events()
    );
    print!("{table}");
    Ok(table.missed())
}

/// Seconds from the start of a replica's `clone` on an empty volume to the published copy. Failed tries count.
fn clone(cluster: &Cluster) -> Result<f64> {
    let starts = || cluster.logs("mysql-1", "clone").matches("---- clone starts").count();
    let published = || cluster.times_logged("mysql-1", "clone", Event::ClonePublished);
    let (starts_before, published_before) = (starts(), published());
    cluster.delete_volume("mysql-1")?;
    until(|| starts() > starts_before).context("no clone started")?;
    let begun = Instant::now();
    until(|| published() > published_before).context("no clone was published")?;
    let seconds = begun.elapsed().as_secs_f64();
    cluster.wait_ready(2)?;
    Ok(seconds)
}

fn until(condition: impl Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        ensure!(Instant::now() < deadline, "not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

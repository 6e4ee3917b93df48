//! Strangers in any number, on both ports.

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mysqlset::model::event::Event;

use crate::faults::ask_for_a_clone;
use crate::needs;
use crate::pods::{Cluster, PATIENCE};
use crate::set;
use crate::throng::{Throng, while_thronged};

const SOON: Duration = Duration::from_millis(100);

/// 48 held all clones back when each had a place until its deadline.
#[test]
fn strangers_keep_no_clone_from_starting() -> Result<()> {
    let cluster = set::start(1, |_| {})?;
    cluster.wait_ready(1)?;
    for (throng, pods) in [(Throng::Idle { count: 300, again: SOON }, 2), (Throng::Garbage { per_second: 500 }, 3)] {
        let begun = Instant::now();
        let ((), made) = while_thronged(&cluster, "mysql-0", &[3307], throng, || {
            cluster.scale(pods);
            cluster.wait_ready(pods as usize)
        })?;
        ensure!(made > 200, "only {made} connections were made");
        ensure!(begun.elapsed() < PATIENCE / 2, "a clone took {:?}", begun.elapsed());
    }
    set::wait_for_log(&cluster, "mysql-0", "sidecar", "event=donor.strangers")?;
    let log = cluster.logs("mysql-0", "sidecar");
    let lines = log.lines().filter(|line| line.contains("donor.handshake_broken")).count();
    ensure!(lines <= 20 * (2 + 2 * PATIENCE.as_secs() as usize / 10), "{lines} lines about strangers");
    Ok(())
}

/// A recipient that reads nothing; the one before it may still have the turn.
fn begun_clone(cluster: &Cluster) -> Result<TcpStream> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask_for_a_clone(cluster) {
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
            begun => return begun,
        }
    }
}

/// 300 made a pod unready after 11 seconds, had its sidecar killed after 28, and `drain` say that nothing was to be waited for
/// while a clone was served.
#[test]
fn strangers_keep_no_probe_and_no_drain_from_their_answers() -> Result<()> {
    needs!(BackupTool);
    let cluster = set::start(1, |_| {})?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    set::fill_much(&cluster, 30)?;
    for throng in [Throng::Idle { count: 300, again: SOON }, Throng::Garbage { per_second: 500 }] {
        // It reads nothing, so its clone doesn't end before it is given up, after half a minute.
        let recipient = begun_clone(&cluster)?;
        while_thronged(&cluster, "mysql-0", &[8307], throng, || {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(12) {
                let asked = Instant::now();
                // A connection from the crowd's own address may be crowded out; the next one is not.
                while !matches!(cluster.http_get("mysql-0", 8307, "/healthz"), Ok((200, _))) {
                    ensure!(asked.elapsed() < Duration::from_secs(2), "no answer in {:?}", asked.elapsed());
                }
                ensure!(cluster.ready_pods() == ["mysql-0"], "unready: {:?}", cluster.events());
                std::thread::sleep(Duration::from_millis(200));
            }
            let limited = ["/mysqlset/mysqlset", "drain", "--drain-timeout", "5"];
            let drained = cluster.exec("mysql-0", "mysql", &limited)?;
            ensure!(drained.status.code() == Some(1), "a clone is served: {drained:?}");
            Ok(())
        })?;
        drop(recipient);
    }
    ensure!(cluster.status("mysql-0")?.containers["sidecar"].restarts == 0, "{:?}", cluster.events());
    Ok(())
}

/// A wrong secret is answered ever later; who knows the right one is not, from the same address.
#[test]
fn who_guesses_the_clone_secret_waits_ever_longer() -> Result<()> {
    const SECRET: &str = "geheim-und-sehr-lang";
    let cluster = set::start_with_secret(1, SECRET)?;
    cluster.wait_ready(1)?;
    let proven = |secret: &str| crate::strangers::prove_with(&cluster.connect("mysql-0", 3307)?, secret);
    let mut waits = Vec::new();
    for _ in 0..5 {
        let begun = Instant::now();
        ensure!(!proven("a wrong one of many")?, "a wrong secret was taken");
        waits.push(begun.elapsed());
    }
    ensure!(waits[4] > Duration::from_millis(1500), "{waits:?}");
    let begun = Instant::now();
    ensure!(proven(SECRET)?, "the right secret was not taken");
    ensure!(begun.elapsed() < Duration::from_secs(20), "the right secret waited {:?}", begun.elapsed());
    let last = waits.pop().context("a wait")?;
    ensure!(
        begun.elapsed() < last + Duration::from_secs(1),
        "the right one took {:?}, a wrong one {last:?}",
        begun.elapsed()
    );
    Ok(())
}

/// At 50 KB/s it kept the only turn, and others heard "busy", for as long as its clone took.
#[test]
fn a_recipient_that_takes_little_loses_its_turn_when_another_waits() -> Result<()> {
    needs!(BackupTool);
    let cluster = set::start(1, |_| {})?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    set::fill_much(&cluster, 60)?;
    let mut slow = ask_for_a_clone(&cluster)?;
    let reading = std::thread::spawn(move || {
        while slow.read(&mut [0; 5000]).is_ok_and(|count| count > 0) {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    cluster.scale(2);
    cluster.wait_ready(2)?;
    ensure!(cluster.has_logged("mysql-0", "sidecar", Event::DonorTooSlow), "{}", cluster.logs("mysql-0", "sidecar"));
    drop(cluster);
    reading.join().map_err(|_| anyhow::anyhow!("the slow recipient failed"))
}

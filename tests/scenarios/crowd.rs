//! Strangers in any number, on both ports.

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::needs;
use harness::pods::{Cluster, PATIENCE};
use harness::set;
use harness::stand_ins::recipient::{ask_for_a_clone, prove_with};
use harness::throng::{Throng, while_thronged};
use mysqlset::model::event::Event;

const SOON: Duration = Duration::from_millis(100);

/// Earlier, each connection had a place until its deadline, and 48 strangers held all clones back.
#[test]
fn clones_start_beside_a_crowd_of_strangers() -> Result<()> {
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

/// A recipient that reads nothing. The one before it may still hold the slot.
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

/// Earlier, 300 strangers made a pod unready after 11 seconds and had its sidecar killed after 28. `drain` then
/// reported that it was done while a clone was served.
#[test]
fn probes_and_drain_get_answers_beside_a_crowd_of_strangers() -> Result<()> {
    needs!(BackupTool);
    let cluster = set::start(1, |_| {})?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    set::fill_much(&cluster, 30)?;
    for throng in [Throng::Idle { count: 300, again: SOON }, Throng::Garbage { per_second: 500 }] {
        // The recipient reads nothing, so its clone lasts until it is given up, after half a minute.
        let recipient = begun_clone(&cluster)?;
        while_thronged(&cluster, "mysql-0", &[8307], throng, || {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(12) {
                let asked = Instant::now();
                // The crowd may displace a connection from its own address. The next one gets an answer.
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

/// Each wrong secret is answered later than the one before. The right secret is answered soon, even from the same
/// address.
#[test]
fn each_wrong_clone_secret_is_answered_later() -> Result<()> {
    const SECRET: &str = "geheim-und-sehr-lang";
    let cluster = set::start_with_secret(1, SECRET)?;
    cluster.wait_ready(1)?;
    let proven = |secret: &str| prove_with(&cluster.connect("mysql-0", 3307)?, secret);
    let mut waits = Vec::new();
    for _ in 0..5 {
        let begun = Instant::now();
        ensure!(!proven("a wrong one of many")?, "a wrong secret was accepted");
        waits.push(begun.elapsed());
    }
    ensure!(waits[4] > Duration::from_millis(1500), "{waits:?}");
    let begun = Instant::now();
    ensure!(proven(SECRET)?, "the right secret was refused");
    ensure!(begun.elapsed() < Duration::from_secs(20), "the right secret waited {:?}", begun.elapsed());
    let last = waits.pop().context("a wait")?;
    ensure!(
        begun.elapsed() < last + Duration::from_secs(1),
        "the right one took {:?}, a wrong one {last:?}",
        begun.elapsed()
    );
    Ok(())
}

/// Earlier, such a recipient at 50 KB/s kept the only slot for its whole clone, and others heard "busy".
#[test]
fn a_slow_recipient_loses_its_slot_when_another_waits() -> Result<()> {
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

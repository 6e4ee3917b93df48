//! `make demo`: the job of the Kubernetes tutorial "Run a Replicated Stateful Application", narrated live.
//!
//! Every shown statement is checked; a false one ends the demo with exit code 1.

mod narrator;
mod table;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use harness::pods::{Cluster, PATIENCE, servers};
use harness::set;
use harness::writer::Writer;

use narrator::Narrator;

fn main() -> ExitCode {
    let started = Instant::now();
    let narrator = Narrator::start();
    match run(&narrator) {
        Ok(()) => {
            narrator.title(&format!("Done: all of it was true, in {:.0} seconds", started.elapsed().as_secs_f64()));
            ExitCode::SUCCESS
        }
        Err(error) => {
            narrator.failed(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(narrator: &Narrator) -> Result<()> {
    narrator.title(&format!(
        "Three pods from the shipped manifest (k8s/overlays/{}), with passwords and a network policy, on real servers: {}",
        servers::tested().overlay_with_passwords,
        servers::tested().title()
    ));
    let mut manifests = servers::manifests(servers::tested().overlay_with_passwords, &[])?;
    set::give_passwords(&mut manifests);
    let cluster = Cluster::apply(Some(narrator.events()), manifests)?;
    let started = Instant::now();
    cluster.wait_ready(3)?;
    narrator.proven(&format!("three pods are ready after {:.1} s", started.elapsed().as_secs_f64()));

    write_rows(&cluster, narrator)?;
    scale_to_five_under_writes(&cluster, narrator)?;
    delete_a_pod(&cluster, narrator)?;
    delete_a_volume(&cluster, narrator)?;
    scale_to_three(&cluster, narrator)
}

/// As in the tutorial, a client in the cluster writes to `mysql-0.mysql`.
fn write_rows(cluster: &Cluster, narrator: &Narrator) -> Result<()> {
    narrator.title("Rows are written on mysql-0.mysql, and read on every pod");
    set::fill(cluster)?;
    let insert = "INSERT INTO app.keyed (n, text) VALUES (42, 'hello from mysql-2')";
    let client = format!(
        "MYSQL_PWD=$(cat /passwords/root) exec {} -h mysql-0.mysql -u root -e \"$0\"",
        servers::tested().client()
    );
    let output = cluster.exec("mysql-2", "mysql", &["sh", "-c", &client, insert])?;
    ensure!(output.status.success(), "the write failed: {}", String::from_utf8_lossy(&output.stderr));
    set::assert_same_rows(cluster, &["mysql-1", "mysql-2"])?;
    narrator.table(&table::of(cluster, 3)?);
    ensure!(ids(cluster, 3)? == ["100", "101", "102"], "the server ids are {:?}", ids(cluster, 3)?);
    narrator.proven("server ids 100, 101 and 102; both replicas follow mysql-0 and hold its rows");
    Ok(())
}

fn scale_to_five_under_writes(cluster: &Cluster, narrator: &Narrator) -> Result<()> {
    narrator.title("Scaled to five while rows are being written");
    let started = Instant::now();
    let writer = Writer::start(cluster)?;
    cluster.scale(5);
    cluster.wait_ready(5)?;
    let seconds = started.elapsed().as_secs_f64();
    let written = writer.finish()?;
    ensure!(written > 0, "nothing was written meanwhile");
    narrator.proven(&format!("five pods are ready after {seconds:.1} s; {written} rows were written meanwhile"));

    let pods = ["mysql-0", "mysql-1", "mysql-2", "mysql-3", "mysql-4"];
    set::assert_same_rows(cluster, &pods)?;
    narrator.table(&table::of(cluster, 5)?);
    for pod in pods {
        narrator.line(&format!("{pod}: {}", table::checksums(cluster, pod)?));
    }
    narrator.proven("CHECKSUM TABLE is the same on all five, for each table");
    for (pod, donor) in [("mysql-3", "mysql-2"), ("mysql-4", "mysql-3")] {
        let clone = &set::journal(cluster, pod)?["clone"];
        ensure!(clone["donor_pod"] == donor, "{pod} was cloned from {}, not from {donor}", clone["donor_pod"]);
    }
    narrator.proven("each new pod was cloned from the one before it, none from the primary");
    Ok(())
}

fn delete_a_pod(cluster: &Cluster, narrator: &Narrator) -> Result<()> {
    narrator.title("Pod mysql-2 is deleted: it comes back with its data");
    let (clones, before, started) = (set::clones(cluster, "mysql-2"), cluster.status("mysql-2")?.uid, Instant::now());
    cluster.delete_pod("mysql-2")?;
    cluster.wait_for("a new mysql-2", PATIENCE, || Ok(cluster.status("mysql-2")?.uid != before))?;
    cluster.wait_ready(5)?;
    let seconds = started.elapsed().as_secs_f64();
    ensure!(set::clones(cluster, "mysql-2") == clones, "mysql-2 was cloned again");
    write_one(cluster, "back with its data")?;
    set::assert_same_rows(cluster, &["mysql-2"])?;
    narrator.proven(&format!("mysql-2 is back after {seconds:.1} s, without a new clone, and follows again"));
    Ok(())
}

fn delete_a_volume(cluster: &Cluster, narrator: &Narrator) -> Result<()> {
    narrator.title("The volume of mysql-2 is deleted: it is cloned again");
    let (clones, started) = (set::clones(cluster, "mysql-2"), Instant::now());
    cluster.delete_volume("mysql-2")?;
    cluster.wait_ready(5)?;
    let seconds = started.elapsed().as_secs_f64();
    ensure!(set::clones(cluster, "mysql-2") == clones + 1, "mysql-2 was not cloned again");
    write_one(cluster, "back with a new clone")?;
    set::assert_same_rows(cluster, &["mysql-2"])?;
    narrator.table(&table::of(cluster, 5)?);
    narrator.proven(&format!("mysql-2 is back after {seconds:.1} s with a new clone of all rows"));
    Ok(())
}

fn scale_to_three(cluster: &Cluster, narrator: &Narrator) -> Result<()> {
    narrator.title("Scaled to three: the volumes stay");
    let started = Instant::now();
    cluster.scale(3);
    cluster.wait_ready(3)?;
    let seconds = started.elapsed().as_secs_f64();
    for ordinal in 0..5 {
        let pod = format!("mysql-{ordinal}");
        let journal = set::journal(cluster, &pod).with_context(|| format!("the volume of {pod}"))?;
        ensure!(cluster.volume(&pod).join("mysql/ibdata1").exists(), "the volume of {pod} holds no data");
        let runs = if cluster.status(&pod).is_ok() { "in use" } else { "kept" };
        narrator.line(&format!("data-{pod}: {runs}, its journal says {}", journal["state"].as_str().unwrap_or("?")));
    }
    set::assert_same_rows(cluster, &["mysql-1", "mysql-2"])?;
    narrator.proven(&format!("three pods are left after {seconds:.1} s, and five volumes"));
    Ok(())
}

fn write_one(cluster: &Cluster, text: &str) -> Result<()> {
    cluster.sql("mysql-0", &format!("INSERT INTO app.keyed (n, text) VALUES (1, '{text}')")).map(drop)
}

fn ids(cluster: &Cluster, pods: u32) -> Result<Vec<String>> {
    (0..pods).map(|ordinal| cluster.value(&format!("mysql-{ordinal}"), "SELECT @@server_id")).collect()
}

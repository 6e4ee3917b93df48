//! A primary that has lost its volume: no empty database replaces a full one, and the loss is reported.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::logged::Said;
use harness::needs;
use harness::pods::dns::Mode;
use harness::pods::manifest::Manifests;
use harness::pods::servers::tested;
use harness::pods::{Cluster, PATIENCE};
use harness::set;
use mysqlset::model::event::Event;
use rustix::process::Signal;

/// Two replicas with all of the primary's rows.
fn set_with_rows(on_lost_primary: Option<&str>) -> Result<Cluster> {
    set_changed(on_lost_primary, |_| {})
}

fn set_changed(on_lost_primary: Option<&str>, change: impl FnOnce(&mut Manifests)) -> Result<Cluster> {
    let cluster = set::start(3, |manifests| {
        change(manifests);
        // Reports, like clones, are only for peers that know the secret.
        for container in ["clone", "sidecar"] {
            manifests.set_env(container, "MYSQLSET_CLONE_SECRET", "between pods alone");
        }
        if let Some(word) = on_lost_primary {
            manifests.set_env("clone", "MYSQLSET_ON_LOST_PRIMARY", word);
        }
    })?;
    cluster.wait_ready(3)?;
    set::fill(&cluster)?;
    set::assert_same_rows(&cluster, &["mysql-1", "mysql-2"])?;
    Ok(cluster)
}

fn checksums(cluster: &Cluster, pod: &str) -> Result<Vec<Vec<String>>> {
    cluster.sql(pod, &format!("CHECKSUM TABLE {}", set::tables().join(", ")))
}

fn readiness(cluster: &Cluster, pod: &str) -> String {
    cluster.http_get(pod, 8307, "/readyz").map_or_else(|error| format!("{error:#}"), |(_, text)| text)
}

#[test]
fn an_empty_primary_beside_full_replicas_is_refused_with_the_evidence() -> Result<()> {
    let cluster = set_with_rows(None)?;
    let set_id = set::journal(&cluster, "mysql-1")?["set_id"].as_str().unwrap_or_default().to_owned();
    cluster.delete_volume("mysql-0")?;
    let end = set::end_of_clone(&cluster, "mysql-0")?;
    assert_eq!(end.exit_code, 35, "{end:?}");
    for text in ["mysql-1", "mysql-2", &set_id, "--on-lost-primary recover", "start-anew"] {
        assert!(end.message.contains(text), "{text}: {end:?}");
    }
    assert!(!cluster.volume("mysql-0").join("mysql/.mysqlset.json").exists());
    // Meanwhile the replicas serve their data.
    assert_eq!(cluster.ready_pods(), ["mysql-1", "mysql-2"]);
    Ok(())
}

#[test]
fn silent_peers_and_a_failing_resolver_are_no_evidence_of_an_empty_set() -> Result<()> {
    let cluster = set_with_rows(None)?;
    for pod in ["mysql-1", "mysql-2"] {
        cluster.set_network(pod, false)?;
    }
    cluster.delete_volume("mysql-0")?;
    let end = set::end_of_clone(&cluster, "mysql-0")?;
    assert_eq!(end.exit_code, 35, "{end:?}");
    assert!(end.message.contains("exists but gives no report"), "{end:?}");
    drop(cluster);

    for mode in [Mode::Fails, Mode::Silent, Mode::AnswersAll] {
        let cluster = set::start(0, |_| {})?;
        cluster.set_resolver(mode);
        cluster.scale(1);
        let end = set::end_of_clone(&cluster, "mysql-0")?;
        assert_eq!(end.exit_code, 35, "{end:?}");
        let expected = if mode == Mode::AnswersAll { "gives no report" } else { "cannot resolve" };
        assert!(end.message.contains(expected), "{end:?}");
        cluster.set_resolver(Mode::Works);
        cluster.wait_ready(1)?;
    }
    Ok(())
}

#[test]
fn peers_with_another_secret_are_no_evidence_of_an_empty_set() -> Result<()> {
    let cluster = set::start(2, |manifests| {
        manifests.set_env("sidecar", "MYSQLSET_CLONE_SECRET", "one for all pods");
        manifests.set_env("clone", "MYSQLSET_CLONE_SECRET", "one for all pods");
    })?;
    cluster.wait_ready(2)?;
    let set_id = set::journal(&cluster, "mysql-1")?["set_id"].as_str().unwrap_or_default().to_owned();
    let report = |hostname: &str, secret: &str| {
        let mut command = cluster.command(harness::program());
        let data_dir = cluster.shared.directory.join("nothing");
        command.args(["clone", "--hostname", hostname, "--service"]).arg(cluster.address("mysql-1")?.to_string());
        command.arg("--data-dir").arg(&data_dir).args(["--owner", "999"]).env("MYSQLSET_CLONE_SECRET", secret);
        let output = command.output()?;
        anyhow::Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    let (code, log) = report("mysql-0", "one for all pods")?;
    assert!(code == Some(35) && log.contains("mysql-1") && log.contains(&set_id), "{log}");
    for hostname in ["mysql-0", "other-0"] {
        let (code, log) = report(hostname, "two for all pods")?;
        assert!(code == Some(35) && log.names(Event::RefusedUnauthorised) && !log.contains(&set_id), "{log}");
    }
    // A sidecar of another set proves its report too, to a peer that knows the secret. (There is no name server out
    // here.)
    let (_, log) = report("other-0", "one for all pods")?;
    assert!(!log.contains("exists but gives") && log.contains("cannot resolve other-1"), "{log}");
    Ok(())
}

#[test]
fn a_first_start_is_not_slowed() -> Result<()> {
    // The quickest of three starts: the machine may be busy with other things.
    let mut quickest = Duration::MAX;
    for _ in 0..3 {
        let cluster = set::start(1, |_| {})?;
        let begun = Instant::now();
        cluster.wait_for_event("mysql-0", "clone", Event::DataNew)?;
        quickest = quickest.min(begun.elapsed());
    }
    ensure!(quickest < Duration::from_secs(1), "the guard took {quickest:?}");
    Ok(())
}

#[test]
fn a_lost_primary_is_recovered_from_a_replica_and_the_others_follow_it() -> Result<()> {
    needs!(Gtid);
    let cluster = set_with_rows(Some("recover"))?;
    let expected = checksums(&cluster, "mysql-1")?;
    let set_id = set::journal(&cluster, "mysql-1")?["set_id"].clone();
    cluster.delete_volume("mysql-0")?;
    cluster.wait_ready(3)?;
    assert_eq!(checksums(&cluster, "mysql-0")?, expected);
    let log = cluster.logs("mysql-0", "clone");
    assert!(log.has(Event::PrimaryRecoveredFromBest), "{log}");
    let journal = set::journal(&cluster, "mysql-0")?;
    assert_eq!((journal["state"].as_str(), &journal["set_id"]), (Some("complete"), &set_id));
    assert!(cluster.sql("mysql-0", "SHOW REPLICA STATUS")?.is_empty());

    cluster.sql("mysql-0", "INSERT INTO app.keyed (n) VALUES (-1); INSERT INTO app.keyless (n) VALUES (-1)")?;
    set::assert_same_rows(&cluster, &["mysql-1", "mysql-2"])?;
    // The same again after a restart of every server, and for a new replica.
    for pod in ["mysql-0", "mysql-1"] {
        cluster.delete_pod(pod)?;
        cluster.wait_for("the pod to go", PATIENCE, || Ok(!cluster.ready_pods().contains(&pod.to_owned())))?;
        cluster.wait_ready(3)?;
    }
    cluster.delete_volume("mysql-2")?;
    cluster.wait_ready(3)?;
    cluster.sql("mysql-0", "INSERT INTO app.keyless (n) VALUES (-2)")?;
    set::assert_same_rows(&cluster, &["mysql-1", "mysql-2"])
}

/// A position in the lost primary's log is meaningless in another log.
#[test]
fn replicas_of_a_primary_recovered_without_gtids_ask_to_be_cloned_again() -> Result<()> {
    needs!(PlacesInTheLog);
    let cluster = set_with_rows(Some("recover"))?;
    let expected = checksums(&cluster, "mysql-1")?;
    cluster.delete_volume("mysql-0")?;
    for pod in ["mysql-1", "mysql-2"] {
        cluster.wait_for(&format!("{pod} to see it"), PATIENCE, || cluster.is_unready_by(pod, Event::SourceForeign))?;
        let told = cluster.status_page(pod)?;
        ensure!(told.contains("delete this pod's volume and the pod"), "{told}");
        ensure!(!told.contains("--on-lost-primary"), "the primary needs nothing more: {told}");
    }
    for pod in ["mysql-1", "mysql-2"] {
        cluster.delete_volume(pod)?;
        cluster.wait_for(pod, PATIENCE, || Ok(cluster.ready_pods().contains(&pod.to_owned())))?;
    }
    cluster.wait_ready(3)?;
    assert_eq!(checksums(&cluster, "mysql-0")?, expected);
    set::assert_same_rows(&cluster, &["mysql-1", "mysql-2"])
}

/// Its additional transactions exist only there, and the primary gives their numbers to other transactions.
#[test]
fn a_replica_ahead_of_the_recovered_primary_is_kept_and_does_not_follow() -> Result<()> {
    needs!(Gtid);
    // A stopped replica then counts as ready. A StatefulSet takes no pod away beside an unready one.
    let cluster = set_changed(Some("recover"), |manifests| {
        let probe = manifests.container("sidecar").readiness_probe.as_mut();
        probe.expect("the sidecar has one").failure_threshold = u32::MAX;
    })?;
    cluster.sql("mysql-1", "STOP REPLICA")?;
    cluster.sql("mysql-0", "INSERT INTO app.keyed (n) VALUES (1); INSERT INTO app.keyed (n) VALUES (2)")?;
    set::assert_same_rows(&cluster, &["mysql-2"])?;
    let expected = checksums(&cluster, "mysql-2")?;
    cluster.scale(2);
    cluster.wait_for("mysql-2 to go", PATIENCE, || Ok(cluster.status("mysql-2").is_err()))?;
    cluster.delete_volume("mysql-0")?;
    cluster.wait_for("mysql-0", PATIENCE, || Ok(cluster.ready_pods().contains(&"mysql-0".to_owned())))?;
    for n in 10..15 {
        cluster.sql("mysql-0", &format!("INSERT INTO app.keyed (n) VALUES ({n})"))?;
    }
    // A replica that was stopped by hand waits for a manual start, or for its sidecar's next start.
    cluster.signal("mysql-1", "sidecar", Signal::KILL)?;
    cluster.wait_ready(2)?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;

    cluster.scale(3);
    cluster.wait_for("mysql-2 to see it", PATIENCE, || cluster.is_unready_by("mysql-2", Event::SourceForeign))?;
    assert_eq!(checksums(&cluster, "mysql-2")?, expected);
    // With its volume deleted, it joins the set again.
    cluster.delete_volume("mysql-2")?;
    cluster.wait_ready(3)?;
    set::assert_same_rows(&cluster, &["mysql-2"])
}

/// Both halves of a recovery: the copy, and its promotion to a primary.
#[test]
fn a_recovery_that_is_killed_again_and_again_ends_whole() -> Result<()> {
    needs!(Gtid);
    let cluster = set_with_rows(Some("recover"))?;
    let expected = checksums(&cluster, "mysql-1")?;
    let (mut clones, mut sidecars) = (0, 0);
    let deadline = Instant::now() + PATIENCE;
    // A busy machine may look too seldom to meet the sidecar in its work. Then the loop repeats.
    while sidecars == 0 {
        cluster.delete_volume("mysql-0")?;
        while set::state(&cluster, "mysql-0").as_deref() != Some("complete") {
            ensure!(Instant::now() < deadline, "{}", cluster.describe());
            let (container, kills) = match set::state(&cluster, "mysql-0").as_deref() {
                Some("receiving" | "preparing") if clones < 2 => ("clone", &mut clones),
                Some("published") if sidecars < 5 => ("sidecar", &mut sidecars),
                _ => ("", &mut 0),
            };
            if !container.is_empty() && cluster.signal("mysql-0", container, Signal::KILL).is_ok() {
                *kills += 1;
            }
            // Each kill comes later than the one before, so that each step is the last one once.
            std::thread::sleep(Duration::from_millis(5 + 7 * (clones + sidecars)));
        }
        cluster.wait_ready(3)?;
    }
    assert_eq!(checksums(&cluster, "mysql-0")?, expected);
    cluster.sql("mysql-0", "INSERT INTO app.keyless (n) VALUES (-1)")?;
    set::assert_same_rows(&cluster, &["mysql-1", "mysql-2"])
}

#[test]
fn a_name_server_that_is_silent_stops_no_replica() -> Result<()> {
    let cluster = set_with_rows(None)?;
    cluster.set_resolver(Mode::Silent);
    cluster.signal("mysql-1", "mysql", Signal::KILL)?;
    cluster.signal("mysql-2", "sidecar", Signal::KILL)?;
    cluster.wait_for("both to be ready with what they have", PATIENCE, || {
        Ok(["mysql-1", "mysql-2"].iter().all(|pod| readiness(&cluster, pod) == "ready\n"))
    })?;
    cluster.set_resolver(Mode::Works);
    cluster.sql("mysql-0", "INSERT INTO app.keyless (n) VALUES (-1)")?;
    set::assert_same_rows_of_innodb(&cluster, &["mysql-1", "mysql-2"])
}

#[test]
fn replicas_do_not_follow_a_primary_that_started_empty_during_an_outage() -> Result<()> {
    needs!(Gtid);
    let cluster = set_with_rows(Some("recover"))?;
    let expected = checksums(&cluster, "mysql-1")?;
    cluster.scale(0);
    cluster.wait_ready(0)?;
    cluster.delete_unused_volume("mysql-0")?;
    cluster.scale(3);
    cluster.wait_for("mysql-1 to see it", PATIENCE, || cluster.is_unready_by("mysql-1", Event::SourceForeign))?;
    // The new primary reaches the old one's number of transactions. The replicas still do not follow it.
    set::fill(&cluster)?;
    cluster.sql("mysql-0", "INSERT INTO app.keyed (n) VALUES (-1)")?;
    for _ in 0..3 {
        cluster.signal("mysql-1", "sidecar", Signal::KILL)?;
        cluster
            .wait_for("mysql-1 to see it again", PATIENCE, || cluster.is_unready_by("mysql-1", Event::SourceForeign))?;
    }
    assert_eq!(checksums(&cluster, "mysql-1")?, expected);
    assert_eq!(cluster.value("mysql-1", "SELECT COUNT(*) FROM app.keyed WHERE n = -1")?, "0");
    assert_eq!(cluster.ready_pods(), ["mysql-0"]);

    // The remedy of the message: the volume is deleted while a replica runs, and the primary is recovered from it.
    cluster.delete_volume("mysql-0")?;
    cluster.wait_ready(3)?;
    assert_eq!(checksums(&cluster, "mysql-0")?, expected);
    set::assert_same_rows(&cluster, &["mysql-1", "mysql-2"])
}

/// `mysql-0` comes up first, before any peer.
#[test]
fn after_a_full_outage_an_empty_primary_of_a_set_that_has_data_is_refused() -> Result<()> {
    let cluster = set_with_rows(None)?;
    cluster.scale(0);
    cluster.wait_ready(0)?;
    cluster.delete_unused_volume("mysql-0")?;
    let mut changed = (*cluster.shared.manifests()).clone();
    changed.set_env("clone", "MYSQLSET_SET_HAS_DATA", "true");
    changed.stateful_set.spec.replicas = 0;
    cluster.change(changed);
    cluster.scale(3);
    let end = set::end_of_clone(&cluster, "mysql-0")?;
    assert_eq!(end.exit_code, 35, "{end:?}");
    assert!(end.is(Event::ExitPrimaryLost) && end.message.contains("--set-has-data"), "{end:?}");
    assert_eq!(cluster.ready_pods(), [""; 0]);
    Ok(())
}

#[test]
fn a_primary_that_is_replaced_under_running_replicas_is_not_followed_for_a_moment() -> Result<()> {
    let cluster = set_with_rows(Some("start-anew"))?;
    let expected = checksums(&cluster, "mysql-1")?;
    cluster.delete_volume("mysql-0")?;
    for pod in ["mysql-1", "mysql-2"] {
        cluster.wait_for(&format!("{pod} to see it"), PATIENCE, || cluster.is_unready_by(pod, Event::SourceForeign))?;
        assert_eq!(checksums(&cluster, pod)?, expected);
        assert_eq!(cluster.value(pod, tested().applied())?, cluster.value("mysql-1", tested().applied())?);
    }
    assert!(cluster.has_logged("mysql-0", "clone", Event::PrimaryStartedAnew));
    Ok(())
}

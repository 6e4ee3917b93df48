//! The choice of a donor, and the behaviour without one.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::logged::Said;
use harness::needs;
use harness::pods::PATIENCE;
use harness::pods::servers::tested;
use harness::proxy::{self, Fault, Proxy, use_proxy};
use harness::set::{self, end_of_clone};
use mysqlset::model::event::Event;
use rustix::process::Signal;

#[test]
fn a_donor_that_is_down_and_comes_up_is_waited_for() -> Result<()> {
    needs!(BackupTool);
    let cluster = set::start(1, use_proxy)?;
    cluster.wait_ready(1)?;
    set::fill(&cluster)?;
    cluster.scale(2);
    cluster.wait_for("an unreachable donor", PATIENCE, || {
        let log = cluster.logs("mysql-1", "clone");
        let setbacks = log.lines_of(Event::ReceiveSetback);
        Ok(setbacks.iter().any(|setback| setback.field("kind") == Some("unreachable")))
    })?;
    let _proxy = Proxy::start(&cluster, "mysql-0", Fault::None)?;
    cluster.wait_ready(2)?;
    assert_eq!(cluster.status("mysql-1")?.containers["clone"].restarts, 0, "{}", cluster.describe());
    set::assert_same_rows(&cluster, &["mysql-1"])
}

#[test]
fn a_donor_that_stays_down_is_given_up_with_a_clear_message() -> Result<()> {
    let cluster = set::start(1, |manifests| {
        use_proxy(manifests);
        manifests.set_env("clone", "MYSQLSET_GIVE_UP_AFTER", "1");
    })?;
    cluster.wait_ready(1)?;
    cluster.scale(2);
    let end = end_of_clone(&cluster, "mysql-1")?;
    assert_eq!(end.exit_code, 20, "{end:?}");
    assert!(end.is(Event::ExitNoDonor) && end.message.contains(&proxy::address().to_string()), "{end:?}");
    Ok(())
}

#[test]
fn a_lower_ordinal_donates_where_the_previous_cannot() -> Result<()> {
    let cluster = set::start(2, |manifests| manifests.set_env("sidecar", "MYSQLSET_MAX_DONOR_LAG", "0"))?;
    cluster.wait_ready(2)?;
    set::fill(&cluster)?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    // The replica stays ready with its data, but is no donor.
    let delay = |seconds: u32| {
        let change = tested().change_delay();
        cluster.sql("mysql-1", &format!("STOP REPLICA; {change} = {seconds}; START REPLICA"))
    };
    delay(600)?;
    cluster.sql("mysql-0", "INSERT INTO app.keyed (n) VALUES (1)")?;
    cluster.wait_for("mysql-1 to lag behind", PATIENCE, || {
        let (_, metrics) = cluster.http_get("mysql-1", 8307, "/metrics")?;
        let mut lag = metrics.lines().filter_map(|line| line.strip_prefix("mysqlset_replication_lag_seconds "));
        Ok(lag.any(|seconds| seconds.parse::<f64>().is_ok_and(|seconds| seconds > 0.0)))
    })?;
    cluster.scale(3);
    cluster.wait_ready(3)?;
    assert_eq!(set::journal(&cluster, "mysql-2")?["clone"]["donor_pod"], "mysql-0");
    let log = cluster.logs("mysql-2", "clone");
    assert!(log.contains("mysql-1") && log.names(Event::ReplicationLag), "{log}");

    delay(0)?;
    set::assert_same_rows(&cluster, &["mysql-1", "mysql-2"])
}

#[test]
fn a_secret_is_asked_for_and_proven() -> Result<()> {
    let cluster = set::start_with_secret(2, "geheim-und-sehr-lang")?;
    cluster.wait_ready(2)?;
    set::fill(&cluster)?;
    set::assert_same_rows(&cluster, &["mysql-1"])?;
    for pod in ["mysql-0", "mysql-1"] {
        for container in ["clone", "sidecar"] {
            assert!(!cluster.logs(pod, container).contains("geheim"), "{pod} {container} shows the secret");
        }
    }
    Ok(())
}

/// Pods in the middle of a change. One has the new secret and still uses the old one. The other is a step further, or
/// has only the old one. A recipient must not use the new secret before the donor has it.
#[test]
fn a_clone_secret_is_changed_in_two_steps() -> Result<()> {
    const OLD: &str = "the old one of two";
    const NEW: &str = "the new one of two";
    let start = |donors: &str, recipients: &str| {
        set::start(2, |manifests| {
            manifests.set_env("sidecar", "MYSQLSET_CLONE_SECRET", donors);
            manifests.set_env("clone", "MYSQLSET_CLONE_SECRET", recipients);
            manifests.set_env("clone", "MYSQLSET_GIVE_UP_AFTER", "5");
        })
    };
    let second = [format!("{OLD}\n{NEW}"), format!("{NEW}\n{OLD}")];
    for (donors, recipients) in [(&second[0], second[1].as_str()), (&second[1], &second[0]), (&second[0], OLD)] {
        start(donors, recipients)?.wait_ready(2)?;
    }
    let end = end_of_clone(&start(OLD, &second[1])?, "mysql-1")?;
    assert!(end.exit_code == 20 && end.message.names(Event::RefusedUnauthorised), "{end:?}");
    Ok(())
}

#[test]
fn a_clone_secret_that_can_be_guessed_is_refused_with_the_command_for_a_better_one() -> Result<()> {
    let cluster = set::start(1, |manifests| manifests.set_env("clone", "MYSQLSET_CLONE_SECRET", "hunter2"))?;
    let end = end_of_clone(&cluster, "mysql-0")?;
    assert!(end.exit_code == 2 && end.message.contains("openssl rand -hex 16"), "{end:?}");
    assert!(!end.message.contains("hunter2"), "{end:?}");
    Ok(())
}

#[test]
fn a_recipient_without_the_secret_gets_only_a_refusal() -> Result<()> {
    // The donor has a secret. The recipient has none, then a wrong one.
    for wrong in [None, Some("another of sixteen")] {
        let cluster = set::start(2, |manifests| {
            manifests.set_env("sidecar", "MYSQLSET_CLONE_SECRET", "geheim-und-sehr-lang");
            if let Some(wrong) = wrong {
                manifests.set_env("clone", "MYSQLSET_CLONE_SECRET", wrong);
            }
            manifests.set_env("clone", "MYSQLSET_GIVE_UP_AFTER", "5");
        })?;
        let end = end_of_clone(&cluster, "mysql-1")?;
        // A stranger could refuse as well as a donor. A refusal without proof is therefore no reason to stop at once.
        assert_eq!(end.exit_code, if wrong.is_some() { 20 } else { 21 }, "{end:?}");
        assert!(!end.message.contains("geheim"), "{end:?}");
        // The donor asks a recipient without a secret for it, and the recipient gives up by itself.
        let says_which = if wrong.is_some() {
            end.message.names(Event::RefusedUnauthorised)
        } else {
            end.message.contains("MYSQLSET_CLONE_SECRET")
        };
        assert!(says_which, "{end:?}");
        assert!(set::state(&cluster, "mysql-1").is_none());
    }
    Ok(())
}

/// Earlier, such a copy was published with a warning, with unknown contents of the primary's binary log.
#[test]
fn a_copy_waits_while_the_primary_gives_no_report() -> Result<()> {
    needs!(BackupTool);
    let cluster = set::start(2, |manifests| manifests.container("sidecar").liveness_probe = None)?;
    cluster.wait_ready(2)?;
    set::fill(&cluster)?;
    set::fill_much(&cluster, 30)?;
    cluster.scale(3);
    cluster.wait_for_event("mysql-2", "clone", Event::ReceiveBegun)?;
    // The stopped sidecar accepts connections and stays silent.
    cluster.signal("mysql-0", "sidecar", Signal::STOP)?;
    cluster.wait_for_event("mysql-2", "clone", Event::PrimaryNotAsked)?;
    std::thread::sleep(Duration::from_secs(3));
    ensure!(!cluster.has_logged("mysql-2", "clone", Event::ClonePublished), "{}", cluster.logs("mysql-2", "clone"));
    cluster.signal("mysql-0", "sidecar", Signal::CONT)?;
    cluster.wait_ready(3)
}

#[test]
fn a_recipient_with_a_secret_refuses_a_donor_without_one() -> Result<()> {
    let cluster = set::start(2, |manifests| {
        manifests.set_env("clone", "MYSQLSET_CLONE_SECRET", "geheim-und-sehr-lang");
        manifests.set_env("clone", "MYSQLSET_GIVE_UP_AFTER", "5");
    })?;
    let end = end_of_clone(&cluster, "mysql-1")?;
    assert_eq!(end.exit_code, 20, "{end:?}");
    assert!(end.message.contains("nothing is taken from it"), "{end:?}");
    Ok(())
}

#[test]
fn a_donor_without_a_secret_needs_a_flag_to_donate() -> Result<()> {
    let cluster = set::start(2, |manifests| {
        manifests.container("sidecar").env.retain(|variable| variable.name != "MYSQLSET_DONATE_TO_ANYONE");
    })?;
    let end = end_of_clone(&cluster, "mysql-1")?;
    assert_eq!(end.exit_code, 21, "{end:?}");
    assert!(end.message.names(Event::RefusedNoSecret), "{end:?}");
    Ok(())
}

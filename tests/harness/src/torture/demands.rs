//! The demands during a round and after it, for every kill.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::PODS;
use crate::pods::servers::tested;
use crate::pods::{Cluster, PATIENCE};
use crate::set::{self, INNODB_TABLES};

/// Between two looks at a starting replica.
const PERIOD: Duration = Duration::from_millis(200);

/// The time for a killed process to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(20);

pub struct Demands {
    target: &'static str,
    /// The fewest rows that a server of the target may show, at each answer.
    least: Held,
}

/// Numbers of rows, and the checksum of a table that stays unchanged.
#[derive(Debug, PartialEq)]
struct Held {
    rows: Vec<u64>,
    bulk: String,
}

impl Demands {
    pub fn before(cluster: &Cluster, target: &'static str) -> Result<Demands> {
        Ok(Demands { target, least: Held::of(cluster, target)? })
    }

    /// Waits until all are ready. Meanwhile the replica never shows fewer rows than before.
    pub fn while_it_comes_up(&self, cluster: &Cluster) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.never_less(cluster)?;
            let is_up = PODS.iter().all(|pod| cluster.ready_pods().contains(&(*pod).to_owned()));
            if is_up && set::state(cluster, self.target).as_deref() == Some("replicating") {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "not up after {} seconds\n{}", PATIENCE.as_secs(), cluster.describe());
            std::thread::sleep(PERIOD);
        }
    }

    fn never_less(&self, cluster: &Cluster) -> Result<()> {
        match Held::of(cluster, self.target) {
            Ok(held) => {
                let is_less = held.rows.iter().zip(&self.least.rows).any(|(now, before)| now < before);
                let is_other = held.bulk != self.least.bulk;
                ensure!(!is_less && !is_other, "{} serves {held:?}, before {:?}", self.target, self.least);
                Ok(())
            }
            Err(error) if is_absence(&error) => Ok(()),
            Err(error) => Err(error.context("a replica serves what is not whole")),
        }
    }

    pub fn afterwards(&self, cluster: &Cluster) -> Result<()> {
        cluster.wait_ready(PODS.len())?;
        set::assert_same_rows_of_innodb(cluster, &PODS)?;
        let bulk = |pod: &str| checksum_of_bulk(cluster, pod);
        for pod in PODS {
            ensure!(bulk(pod)? == bulk("mysql-0")?, "{pod}: app.bulk is another");
            set::assert_no_leftovers(cluster, pod)?;
        }
        cluster.wait_for("nothing to run but servers and sidecars", GONE_WITHIN, || {
            let running = running(cluster)?;
            let count = |name: &str| running.iter().filter(|running| *running == name).count();
            ensure!(
                count(tested().process()) == PODS.len()
                    && count("mysqlset") == PODS.len()
                    && count("mariadb-backup") == 0,
                "{running:?}"
            );
            Ok(true)
        })
    }
}

impl Held {
    fn of(cluster: &Cluster, pod: &str) -> Result<Held> {
        let counts = INNODB_TABLES.map(|table| format!("(SELECT COUNT(*) FROM {table})")).join(", ");
        let rows = cluster.sql(pod, &format!("SELECT {counts}; CHECKSUM TABLE app.bulk"))?;
        let [counts, bulk] = rows.as_slice() else { bail!("{pod}: {rows:?}") };
        let rows = counts.iter().map(|count| Ok(count.parse()?)).collect::<Result<_>>()?;
        Ok(Held { rows, bulk: bulk.join(" ") })
    }
}

fn checksum_of_bulk(cluster: &Cluster, pod: &str) -> Result<String> {
    Ok(cluster.sql(pod, "CHECKSUM TABLE app.bulk")?.concat().join(" "))
}

/// The server is down or stops: the client's errors (2000 to 2999), ER_SERVER_SHUTDOWN, ER_CONNECTION_KILLED, and a
/// missing pod.
fn is_absence(error: &anyhow::Error) -> bool {
    let text = format!("{error:#}");
    let number = text.split("ERROR ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<u32>().ok());
    match number {
        Some(number) => matches!(number, 1053 | 1927 | 2000..3000),
        None => text.contains("there is no pod"),
    }
}

/// The names of all live processes of the cluster.
fn running(cluster: &Cluster) -> Result<Vec<String>> {
    let processes = format!("/proc/{}/root/proc", cluster.shared.network.pid());
    let entries = std::fs::read_dir(&processes).with_context(|| processes.clone())?.flatten();
    let stats = entries.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    let names = stats.filter_map(|stat| {
        let (name, state) = stat.split_once('(')?.1.rsplit_once(") ")?;
        (!state.starts_with(['Z', 'X'])).then(|| name.to_owned())
    });
    Ok(names.collect())
}

/// A sidecar ends only by a kill or on request. A clone may also end for a reason with a code of its own.
pub fn ends_are_allowed(events: &[String]) -> Result<()> {
    for event in events {
        let is_fault = |code: i32| match code {
            0 | 137 | 143 => false,
            1 | 2 | 101 | 128.. => true,
            _ => event.contains(": sidecar "),
        };
        if let Some((container, code)) = end(event)
            && matches!(container, "clone" | "sidecar" | "init-config")
            && is_fault(code)
        {
            bail!("{event}");
        }
    }
    Ok(())
}

/// The container whose end an event line reports, and its exit code.
pub fn end(event: &str) -> Option<(&str, i32)> {
    let (before, after) = event.split_once(" ended with ")?;
    let code = after.split([':', ' ']).next()?.parse().ok()?;
    Some((before.rsplit(' ').next()?, code))
}

//! Makes a set like a real one: more tables than a container's initial descriptors, and an event that writes each
//! second, on the primary alone.

use anyhow::{Context, Result, ensure};

use crate::pods::Cluster;
use crate::pods::manifest::Manifests;

/// Statements in one call: they are a single argument of the client.
const AT_ONCE: u32 = 200;

const EVENT: &str = "CREATE DATABASE crowd;
    CREATE TABLE crowd.ticks (id INT AUTO_INCREMENT PRIMARY KEY, server INT);
    CREATE EVENT crowd.tick ON SCHEDULE EVERY 1 SECOND DO INSERT INTO crowd.ticks (server) VALUES (@@server_id)";

/// `crowd.t1` and so on.
#[derive(Clone, Copy)]
pub struct Crowd {
    tables: u32,
}

/// Turns on every server's event scheduler.
pub fn schedule_events(manifests: &mut Manifests) {
    manifests.server_files().for_each(|file| file.push_str("event_scheduler = ON\n"));
}

impl Crowd {
    pub fn make(cluster: &Cluster, tables: u32) -> Result<Crowd> {
        cluster.sql("mysql-0", EVENT)?;
        let numbers: Vec<u32> = (1..=tables).collect();
        for numbers in numbers.chunks(AT_ONCE as usize) {
            let make = |number: &u32| {
                format!(
                    "CREATE TABLE crowd.t{number} (id INT PRIMARY KEY, n INT); INSERT INTO crowd.t{number} VALUES (1, 0);"
                )
            };
            cluster.sql("mysql-0", &numbers.iter().map(make).collect::<String>())?;
        }
        Ok(Crowd { tables })
    }

    pub fn tables(self) -> u32 {
        self.tables
    }

    /// A statement that changes one of the tables, if there are any. The tables alternate.
    pub fn change(self, turn: u64) -> Option<String> {
        let number = 1 + turn.checked_rem(u64::from(self.tables))?;
        Some(format!("UPDATE crowd.t{number} SET n = n + 1;"))
    }

    /// Every table of an up-to-date replica equals the primary's. The event has run on the primary alone, and still
    /// runs there.
    pub fn demand(self, cluster: &Cluster, pods: &[&str]) -> Result<()> {
        let names: Vec<String> = (1..=self.tables).map(|number| format!("crowd.t{number}")).collect();
        let rows = |pod: &str| match names.is_empty() {
            true => Ok(Vec::new()),
            false => cluster.sql(pod, &format!("CHECKSUM TABLE {}", names.join(", "))),
        };
        let expected = rows("mysql-0")?;
        let primary = cluster.value("mysql-0", "SELECT @@server_id")?;
        for pod in pods {
            let found = rows(pod)?;
            let differing = expected.iter().zip(&found).filter(|(expected, found)| expected != found);
            let first = differing.clone().next();
            ensure!(
                found.len() == expected.len() && first.is_none(),
                "{pod}: {} of {} tables differ, first {first:?}",
                differing.count(),
                self.tables
            );
            let strange = cluster.value(pod, &format!("SELECT COUNT(*) FROM crowd.ticks WHERE server <> {primary}"))?;
            ensure!(strange == "0", "{pod}: the event ran {strange} times on another server than the primary");
        }
        let state = "SELECT status FROM information_schema.events WHERE event_name = 'tick'";
        let state = cluster.value("mysql-0", state).context("the primary's event")?;
        ensure!(state == "ENABLED", "the primary's event is {state}");
        let ticks = || cluster.value("mysql-0", "SELECT COUNT(*) FROM crowd.ticks");
        let before = ticks()?;
        cluster.wait_for("the primary's event to run", crate::pods::PATIENCE, || Ok(ticks()? != before))
    }
}

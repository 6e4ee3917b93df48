//! The measurements in the form of docs/reference/security.md, and the bars.

use std::fmt;
use std::time::Duration;

use crate::watch::Watch;

/// The longest clone, in multiples of an undisturbed one.
const SLOWER: f64 = 1.5;

/// The limit for a probe and for `/readyz`.
const ANSWER: Duration = Duration::from_secs(1);

/// The sidecar's memory, in bytes.
const MEMORY: u64 = 20_000_000;

/// Twice the descriptors of 128 unproven connections to each port, which exceeds all others of a sidecar.
const DESCRIPTORS: usize = 600;

/// Log lines about strangers, a second: the sidecar writes two.
const LINES: f64 = 3.0;

pub struct Row {
    pub name: &'static str,
    /// Of each clone.
    pub seconds: Vec<f64>,
    pub seen: Watch,
    pub connections_a_second: Option<f64>,
    pub took: Duration,
}

impl Row {
    fn median(&self) -> f64 {
        let mut sorted = self.seconds.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn lines_a_second(&self) -> f64 {
        self.seen.lines as f64 / self.took.as_secs_f64()
    }
}

#[derive(Default)]
pub struct Table {
    rows: Vec<Row>,
}

impl Table {
    pub fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    fn undisturbed(&self) -> f64 {
        self.rows.first().map_or(f64::NAN, Row::median)
    }

    /// The missed bars, in words.
    pub fn missed(&self) -> Vec<String> {
        let mut missed = Vec::new();
        for row in &self.rows {
            let ratio = row.median() / self.undisturbed();
            for (what, is_met) in [
                (format!("a clone took {ratio:.2} times as long"), ratio <= SLOWER),
                (format!("a probe took {:?}", row.seen.probe), row.seen.probe <= ANSWER),
                (format!("/readyz took {:?}", row.seen.readyz), row.seen.readyz <= ANSWER),
                (format!("{} bytes of memory", row.seen.bytes), row.seen.bytes < MEMORY),
                (format!("{} descriptors", row.seen.descriptors), row.seen.descriptors < DESCRIPTORS),
                (format!("{:.1} lines a second", row.lines_a_second()), row.lines_a_second() < LINES),
            ] {
                if !is_met {
                    missed.push(format!("{}: {what}", row.name));
                }
            }
        }
        missed
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| strangers | connections/s | clone | ratio | probe | /readyz | memory | descriptors | lines about them/s |"
        )?;
        writeln!(f, "| --- | --- | --- | --- | --- | --- | --- | --- | --- |")?;
        for row in &self.rows {
            writeln!(
                f,
                "| {} | {} | {:.2} s | {:.2} | {} ms | {} ms | {:.1} MB | {} | {:.1} |",
                row.name,
                row.connections_a_second.map_or_else(|| "0".to_owned(), |rate| format!("{rate:.0}")),
                row.median(),
                row.median() / self.undisturbed(),
                row.seen.probe.as_millis(),
                row.seen.readyz.as_millis(),
                row.seen.bytes as f64 / 1e6,
                row.seen.descriptors,
                row.lines_a_second()
            )?;
        }
        Ok(())
    }
}

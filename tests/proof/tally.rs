//! The outcomes of the rounds: for each kind of round, and for each kind of damage by the check that noticed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::plan::{Round, What};
use crate::round::{Outcome, Outcomes};

#[derive(Default)]
pub struct Tally {
    rounds: u64,
    violations: Vec<String>,
    /// Rows by kind, columns by outcome.
    conditions: BTreeMap<String, BTreeMap<String, u64>>,
    damages: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Tally {
    /// Counts a round, and prints a line about it.
    pub fn round(&mut self, round: &Round, outcome: &Result<Outcome, anyhow::Error>) -> String {
        self.rounds += 1;
        let (column, end) = match outcome {
            Ok(outcome) => {
                let column = match &outcome.result {
                    Outcomes::Published => "published, equal".to_owned(),
                    Outcomes::NotPublished(noticed) => noticed.to_string(),
                    Outcomes::PublishedAsListed(_) => "listed".to_owned(),
                };
                let why = match &outcome.result {
                    Outcomes::PublishedAsListed(why) => format!(" ({why})"),
                    _ => String::new(),
                };
                let end = format!("{column}{why}; {}; {:.1} s", outcome.ended, outcome.time.as_secs_f64());
                (column, end)
            }
            Err(error) => ("VIOLATED".to_owned(), format!("VIOLATED: {error:#}")),
        };
        let line = format!("{:4} {round}: {end}", round.number);
        if outcome.is_err() {
            self.violations.push(line.clone());
        }
        let table = match round.what {
            What::Damaged(place, victim, damage) => {
                self.damages.entry(format!("{place}: {} {damage}", victim.class)).or_default()
            }
            _ => self.conditions.entry(format!("{}, {}", round.kind().name(), round.data)).or_default(),
        };
        *table.entry(column).or_default() += 1;
        line
    }

    pub fn violations(&self) -> &[String] {
        &self.violations
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (title, table) in [("condition", &self.conditions), ("damage, noticed by", &self.damages)] {
            let columns: BTreeSet<&String> = table.values().flat_map(BTreeMap::keys).collect();
            if columns.is_empty() {
                continue;
            }
            write!(f, "\n{title:60}")?;
            columns.iter().try_for_each(|column| write!(f, " {column:>16}"))?;
            writeln!(f)?;
            for (row, counts) in table {
                write!(f, "{row:60}")?;
                for column in &columns {
                    let count = counts.get(*column).map_or_else(|| "-".to_owned(), u64::to_string);
                    write!(f, " {count:>16}")?;
                }
                writeln!(f)?;
            }
            write!(f, "{:60}", "all")?;
            for column in &columns {
                let sum: u64 = table.values().filter_map(|counts| counts.get(*column)).sum();
                write!(f, " {sum:>16}")?;
            }
            writeln!(f)?;
        }
        writeln!(f, "\n{} rounds, {} violations", self.rounds, self.violations.len())?;
        self.violations.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

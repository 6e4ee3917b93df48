//! Keeps the outcomes in a file, and draws the table of them.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use harness::project;

use crate::plan::{Known, Run};
use crate::{kept, scenarios};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The seconds that it took.
    Passed(u64),
    /// The first line of its error.
    Failed(String),
    /// The reason.
    NotRun(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Passed(seconds) => write!(f, "passed in {seconds} s"),
            Outcome::Failed(error) => write!(f, "FAILED: {error}"),
            Outcome::NotRun(why) => write!(f, "not run: {why}"),
        }
    }
}

/// The last outcome of each run.
pub struct Record(BTreeMap<Run, Outcome>);

/// The file has one line for each run: the run, a word, and its detail.
fn path() -> PathBuf {
    kept().join("runs.tsv")
}

/// The reason for a possible run that was not made.
pub const TIME_IS_UP: &str = "the time was up";

/// Markers around the table in the docs.
const MARKERS: [&str; 2] = ["<!-- make field writes from here -->\n", "<!-- to here -->\n"];

impl Record {
    /// An empty record; it replaces that of an earlier call.
    pub fn new() -> Result<Record> {
        let record = Record(BTreeMap::new());
        record.write()?;
        Ok(record)
    }

    /// Reads the record of earlier calls.
    pub fn read() -> Result<Record> {
        let text = std::fs::read_to_string(path()).unwrap_or_default();
        let line = |line: &str| -> Result<(Run, Outcome)> {
            let words: Vec<&str> = line.split('\t').collect();
            let [run, word, said] = words[..] else { bail!("{}: {line:?}", path().display()) };
            let outcome = match word {
                "passed" => Outcome::Passed(said.parse()?),
                "failed" => Outcome::Failed(said.to_owned()),
                _ => Outcome::NotRun(said.to_owned()),
            };
            Ok((run.parse()?, outcome))
        };
        Ok(Record(text.lines().map(line).collect::<Result<_>>()?))
    }

    fn write(&self) -> Result<()> {
        let mut text = String::new();
        for (run, outcome) in &self.0 {
            let _ = match outcome {
                Outcome::Passed(seconds) => writeln!(text, "{run}\tpassed\t{seconds}"),
                Outcome::Failed(error) => writeln!(text, "{run}\tfailed\t{error}"),
                Outcome::NotRun(why) => writeln!(text, "{run}\tnot run\t{why}"),
            };
        }
        std::fs::create_dir_all(kept())?;
        std::fs::write(path(), text).with_context(|| format!("writing {}", path().display()))
    }

    pub fn add(&mut self, run: &Run, outcome: Outcome) -> Result<()> {
        self.0.insert(run.clone(), outcome);
        self.write()
    }

    pub fn has_passed(&self, run: &Run) -> bool {
        matches!(self.0.get(run), Some(Outcome::Passed(_)))
    }

    pub fn has_failed(&self, run: &Run) -> bool {
        matches!(self.0.get(run), Some(Outcome::Failed(_)))
    }

    pub fn ran_out_of_time(&self, run: &Run) -> bool {
        matches!(self.0.get(run), Some(Outcome::NotRun(why)) if why == TIME_IS_UP)
    }

    /// One condition in one scenario on one server. A failed combination counts for those of its conditions that fail
    /// alone too. Where none fails alone, it counts for all of them.
    fn cell(&self, condition: &str, scenario: &str, server: &str) -> &'static str {
        let alone = |name: &str| Run {
            conditions: vec![name.to_owned()],
            scenario: scenario.to_owned(),
            server: server.to_owned(),
        };
        let is_here = |run: &Run| {
            run.scenario == scenario && run.server == server && run.conditions.iter().any(|name| name == condition)
        };
        let counts = |run: &Run| {
            run.conditions.len() == 1
                || self.has_failed(&alone(condition))
                || !run.conditions.iter().any(|name| self.has_failed(&alone(name)))
        };
        let mut cell = "";
        for (run, outcome) in self.0.iter().filter(|(run, _)| is_here(run)) {
            match outcome {
                Outcome::Failed(_) if counts(run) => return "**failed**",
                Outcome::Passed(_) => cell = "passed",
                Outcome::Failed(_) | Outcome::NotRun(_) => {}
            }
        }
        if cell.is_empty() { "not run" } else { cell }
    }

    /// The same record, limited to a few runs.
    pub fn of(&self, runs: &[Run]) -> Record {
        let is_of_them = |run: &Run| {
            let is_part = |whole: &Run| run.conditions.iter().all(|name| whole.conditions.contains(name));
            runs.iter().any(|whole| whole.scenario == run.scenario && whole.server == run.server && is_part(whole))
        };
        Record(self.0.clone().into_iter().filter(|(run, _)| is_of_them(run)).collect())
    }

    /// A table for each server, then the failures and the missing runs with their reasons.
    pub fn table(&self, known: &Known) -> String {
        let mut text = String::new();
        for (server, why_not) in &known.servers {
            if let Some(why) = why_not {
                let _ = writeln!(text, "### {server}\n\nNot run: {why}\n");
                continue;
            }
            let names = scenarios::ALL.map(|(name, _)| name);
            let _ = writeln!(text, "### {server}\n\n| condition | {} |", names.join(" | "));
            let _ = writeln!(text, "|{}", " --- |".repeat(1 + names.len()));
            for (condition, _) in &known.conditions {
                let cells = names.map(|scenario| self.cell(condition, scenario, server));
                let _ = writeln!(text, "| {condition} | {} |", cells.join(" | "));
            }
            text.push('\n');
        }
        text + &self.failures() + &not_run(known)
    }

    /// One line for each condition, scenario and server with a run.
    pub fn rows(&self) -> String {
        let mut rows = std::collections::BTreeSet::new();
        for run in self.0.keys() {
            for name in &run.conditions {
                let cell = self.cell(name, &run.scenario, &run.server);
                rows.insert(format!("{name:26} {:16} {:14} {}\n", run.scenario, run.server, cell.replace("**", "")));
            }
        }
        rows.into_iter().collect::<String>() + "\n" + &self.failures()
    }

    fn failures(&self) -> String {
        let mut text = String::new();
        for (run, outcome) in &self.0 {
            if let Outcome::Failed(error) = outcome {
                let _ = writeln!(text, "- `ONLY={run}`: {error}");
            }
        }
        if text.is_empty() { text } else { format!("Failed:\n\n{text}\n") }
    }

    /// Puts the table into the docs.
    pub fn write_docs(&self, known: &Known) -> Result<()> {
        let path = project().join("docs/contributing/field.md");
        let text = std::fs::read_to_string(&path)?;
        let [from, to] = MARKERS;
        let (before, rest) = text.split_once(from).context("docs/contributing/field.md has no marker")?;
        let (_, after) = rest.split_once(to).context("docs/contributing/field.md has no second marker")?;
        std::fs::write(&path, format!("{before}{from}\n{}{to}{after}", self.table(known)))?;
        Ok(())
    }
}

/// Conditions that are unavailable, by reason.
fn not_run(known: &Known) -> String {
    let mut reasons: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
    for (name, entry) in &known.conditions {
        for (server, why) in &entry.why_not {
            reasons.entry((name.clone(), why.clone())).or_default().push(server);
        }
    }
    let mut text = String::from("Not run:\n\n");
    for ((name, why), servers) in reasons {
        let _ = writeln!(text, "- {name} on {}: {why}", servers.join(", "));
    }
    text += "- every other cell: this record has no run of it\n";
    for (name, why) in UNMADE {
        let _ = writeln!(text, "- {name}: {why}");
    }
    text.push('\n');
    text
}

/// Conditions of the field that the harness does not make.
const UNMADE: [(&str, &str); 4] = [
    ("two sets in one namespace", "the harness has one StatefulSet in a cluster"),
    ("a volume over FUSE", "more than a test of this program needs"),
    ("passwords that have expired", "they expire after a day; the setting alone is tried"),
    ("max_connections used up by others", "a limit of ten connections is tried instead"),
];

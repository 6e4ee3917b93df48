//! The results of the rounds.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::demands::end;
use super::plan::{Plan, What};

#[derive(Default)]
pub struct Tally {
    rounds: u64,
    /// The acts, by the state of the replica's journal, and their number.
    acts: BTreeMap<(String, String), u64>,
    missed: u64,
    restarts: BTreeMap<String, u64>,
    clones: u64,
    /// Clones that ended by themselves and unfinished, by exit code.
    refusals: BTreeMap<i32, u64>,
    slowest: Option<(Duration, u64)>,
    total: Duration,
}

impl Tally {
    /// Counts a round, and describes it in a line.
    pub fn round(&mut self, plan: &Plan, met: &[Option<String>], events: &[String], time: Duration) -> String {
        self.rounds += 1;
        self.total += time;
        self.slowest = self.slowest.max(Some((time, plan.number)));
        let mut line = format!("{:4} {}", plan.number, plan.target);
        line += if plan.clones_again { " again:" } else { ":      " };
        for (act, state) in plan.acts.iter().zip(met) {
            match state {
                Some(state) => {
                    let role = if act.pod == plan.target { "replica" } else { "donor or primary" };
                    let what = match act.what {
                        What::Kill(container) => format!("{container} of the {role} killed"),
                        What::DeletePod => format!("pod of the {role} deleted"),
                        What::CutNetwork(_) => format!("network of the {role} cut"),
                    };
                    *self.acts.entry((what, state.clone())).or_default() += 1;
                    line += &format!(" {act} ({state});");
                }
                None => {
                    self.missed += 1;
                    line += &format!(" {act} (not there);");
                }
            }
        }
        line + &format!(" {}; {:.1} s", self.count_ends(events), time.as_secs_f64())
    }

    fn count_ends(&mut self, events: &[String]) -> String {
        let mut codes = Vec::new();
        for (container, code) in events.iter().filter_map(|event| end(event)) {
            if container == "clone" {
                codes.push(code.to_string());
                match code {
                    0 => self.clones += 1,
                    137 | 143 => {}
                    _ => *self.refusals.entry(code).or_default() += 1,
                }
            }
            if code == 137 {
                *self.restarts.entry(container.to_owned()).or_default() += 1;
            }
        }
        if codes.is_empty() { "no clone".to_owned() } else { format!("clone {}", codes.join(" ")) }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} rounds in {:.0} s", self.rounds, self.total.as_secs_f64())?;
        for ((what, state), count) in &self.acts {
            writeln!(f, "  {count:5}  {what:40} {state}")?;
        }
        writeln!(f, "  {:5}  found nothing to disturb", self.missed)?;
        for (container, count) in &self.restarts {
            writeln!(f, "  {count:5}  restarts of {container} after a kill")?;
        }
        writeln!(f, "  {:5}  runs of clone that succeeded", self.clones)?;
        for (code, count) in &self.refusals {
            writeln!(f, "  {count:5}  ended with {code}")?;
        }
        if let Some((time, number)) = self.slowest {
            writeln!(f, "slowest: round {number} with {:.1} s", time.as_secs_f64())?;
        }
        Ok(())
    }
}

//! Assigns conditions to scenarios and servers.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Error, Result, ensure};

use crate::run;
use crate::scenarios;

/// Conditions of one run. More would mean fewer runs, but a failure would tell less.
const TOGETHER: usize = 3;

/// One run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run {
    pub conditions: Vec<String>,
    pub scenario: String,
    pub server: String,
}

impl fmt::Display for Run {
    /// The form that `ONLY` takes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.conditions.join(","), self.scenario, self.server)
    }
}

impl FromStr for Run {
    type Err = Error;

    fn from_str(text: &str) -> Result<Run> {
        let parts: Vec<&str> = text.split('/').collect();
        let [conditions, scenario, server] = parts[..] else {
            anyhow::bail!("{text:?} is not condition[,condition]/scenario/server")
        };
        let conditions = conditions.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Ok(Run { conditions, scenario: scenario.to_owned(), server: server.to_owned() })
    }
}

/// A condition as it applies to each server.
#[derive(Clone, Debug)]
pub struct Entry {
    pub subject: String,
    /// By server, the reason why the condition is unavailable there.
    pub why_not: BTreeMap<String, String>,
}

/// The conditions and servers of this machine.
#[derive(Debug)]
pub struct Known {
    /// In the order of the harness's list.
    pub conditions: Vec<(String, Entry)>,
    /// Servers, with the reason where one is unavailable.
    pub servers: Vec<(String, Option<String>)>,
}

impl Known {
    /// Asks one process for each server.
    pub fn ask() -> Result<Known> {
        let mut known = Known { conditions: Vec::new(), servers: Vec::new() };
        for server in harness::pods::servers::names() {
            let told = run::conditions_on(server);
            known.servers.push((server.to_owned(), told.as_ref().err().map(|error| format!("{error:#}"))));
            for (name, subject, why_not) in told.unwrap_or_default() {
                let position = known.conditions.iter().position(|(known, _)| *known == name);
                let position = position.unwrap_or_else(|| {
                    known.conditions.push((name, Entry { subject, why_not: BTreeMap::new() }));
                    known.conditions.len() - 1
                });
                if let Some(why) = why_not {
                    known.conditions[position].1.why_not.insert(server.to_owned(), why);
                }
            }
        }
        ensure!(!known.conditions.is_empty(), "no server is available: {:?}", known.servers);
        Ok(known)
    }

    fn entry(&self, name: &str) -> Result<&Entry> {
        let found = self.conditions.iter().find(|(known, _)| known == name);
        let names = || self.conditions.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        Ok(&found.with_context(|| format!("there is no condition {name:?}; there are {}", names()))?.1)
    }

    /// The reason why a run is impossible.
    pub fn why_not(&self, run: &Run) -> Option<String> {
        let server = self.servers.iter().find(|(name, _)| *name == run.server);
        if let Some((_, Some(why))) = server {
            return Some(why.clone());
        }
        let reason = |name: &String| Some(format!("{name}: {}", self.entry(name).ok()?.why_not.get(&run.server)?));
        run.conditions.iter().find_map(reason)
    }

    fn can_meet(&self, one: &str, other: &str) -> bool {
        let subject = |name| self.entry(name).map(|entry| entry.subject.clone()).ok();
        subject(one) != subject(other)
    }
}

pub struct Plan;

impl Plan {
    /// The runs that `ONLY` names; an empty part stands for all.
    pub fn only(known: &Known, text: &str) -> Result<Vec<Run>> {
        let named: Run = text.parse()?;
        named.conditions.iter().try_for_each(|name| known.entry(name).map(drop))?;
        let all = |named: &str, all: Vec<&str>| -> Result<Vec<String>> {
            ensure!(named.is_empty() || all.contains(&named), "there is no {named:?}; there are {}", all.join(", "));
            Ok(if named.is_empty() { all.into_iter().map(str::to_owned).collect() } else { vec![named.to_owned()] })
        };
        let scenarios = all(&named.scenario, scenarios::ALL.iter().map(|(name, _)| *name).collect())?;
        let servers = all(&named.server, known.servers.iter().map(|(name, _)| name.as_str()).collect())?;
        let conditions = if named.conditions.is_empty() {
            known.conditions.iter().map(|(name, _)| vec![name.clone()]).collect()
        } else {
            vec![named.conditions]
        };
        let mut runs = Vec::new();
        for conditions in conditions {
            for scenario in &scenarios {
                for server in &servers {
                    let (scenario, server) = (scenario.clone(), server.clone());
                    runs.push(Run { conditions: conditions.clone(), scenario, server });
                }
            }
        }
        Ok(runs)
    }

    /// As few runs as a simple search finds. In them each condition meets each scenario on each server, and each
    /// condition of another subject.
    pub fn covering(known: &Known) -> Vec<Run> {
        let mut open = Open::of(known);
        let mut runs = Vec::new();
        // Each place with the number of its runs. If the time runs out, all places have had about the same number.
        let mut places: Vec<((String, String), usize)> = Vec::new();
        for (server, _) in known.servers.iter().filter(|(_, why_not)| why_not.is_none()) {
            places.extend(scenarios::ALL.iter().map(|(scenario, _)| (((*scenario).to_owned(), server.clone()), 0)));
        }
        loop {
            let found = places.iter_mut().map(|(place, runs)| (open.best(known, place), runs));
            let best = found.max_by_key(|((gain, _), runs)| (*gain, Reverse(**runs)));
            let Some(((1.., run), count)) = best else { return runs };
            *count += 1;
            open.close(&run);
            runs.push(run);
        }
    }
}

/// The combinations that are still uncovered.
struct Open {
    cells: BTreeSet<(String, String, String)>,
    pairs: BTreeSet<(String, String)>,
}

impl Open {
    fn of(known: &Known) -> Open {
        let (mut cells, mut pairs) = (BTreeSet::new(), BTreeSet::new());
        for (server, _) in known.servers.iter().filter(|(_, why_not)| why_not.is_none()) {
            let here: Vec<&String> = known
                .conditions
                .iter()
                .filter(|(_, entry)| !entry.why_not.contains_key(server))
                .map(|(name, _)| name)
                .collect();
            for (number, one) in here.iter().enumerate() {
                for (scenario, _) in scenarios::ALL {
                    cells.insert(((*one).clone(), (*scenario).to_owned(), server.clone()));
                }
                let others = here[number + 1..].iter().filter(|other| known.can_meet(one, other));
                pairs.extend(others.map(|other| pair(one, other)));
            }
        }
        Open { cells, pairs }
    }

    /// The conditions that cover most in a place, chosen one after the other, and their gain.
    fn best(&self, known: &Known, (scenario, server): &(String, String)) -> (usize, Run) {
        let mut run = Run { conditions: Vec::new(), scenario: scenario.clone(), server: server.clone() };
        let mut gain = 0;
        while run.conditions.len() < TOGETHER {
            let candidates = known.conditions.iter().filter(|(name, entry)| {
                !entry.why_not.contains_key(server) && run.conditions.iter().all(|other| known.can_meet(name, other))
            });
            let best = candidates.map(|(name, _)| (self.gain(&run, name), name)).max_by_key(|(gain, _)| *gain);
            let Some((more @ 1.., name)) = best else { break };
            gain += more;
            run.conditions.push(name.clone());
        }
        (gain, run)
    }

    fn gain(&self, run: &Run, name: &str) -> usize {
        let cell = (name.to_owned(), run.scenario.clone(), run.server.clone());
        let pairs = run.conditions.iter().filter(|other| self.pairs.contains(&pair(name, other))).count();
        2 * usize::from(self.cells.contains(&cell)) + 2 * pairs
    }

    fn close(&mut self, run: &Run) {
        for (number, one) in run.conditions.iter().enumerate() {
            self.cells.remove(&(one.clone(), run.scenario.clone(), run.server.clone()));
            for other in &run.conditions[number + 1..] {
                self.pairs.remove(&pair(one, other));
            }
        }
    }
}

fn pair(one: &str, other: &str) -> (String, String) {
    if one < other { (one.to_owned(), other.to_owned()) } else { (other.to_owned(), one.to_owned()) }
}

//! The measured figures, with name and bar, and their samples.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

/// A figure that the bench knows.
pub struct Figure {
    pub name: &'static str,
    pub unit: &'static str,
    pub bar: Bar,
}

/// The upper limit of a figure.
#[derive(Clone, Copy)]
pub enum Bar {
    None,
    /// The ratio of ours to the peer's.
    Ratio(f64),
    /// Ours, in the figure's unit.
    Ours(f64),
}

const fn figure(name: &'static str, unit: &'static str, bar: Bar) -> Figure {
    Figure { name, unit, bar }
}

/// All figures, in the order of the table. Processor time is user and system time together. A wall ends when the last
/// byte is synced. GB are of the backup's stream.
pub const ALL: [Figure; 20] = [
    // A recorded stream through both ends, against ncat and mbstream.
    figure("transfer.recipient_cpu", "s/GB", Bar::Ratio(0.14)),
    figure("transfer.donor_relay_cpu", "s/GB", Bar::Ratio(0.5)),
    figure("transfer.wall", "s", Bar::Ratio(0.40)),
    // The same against a loop that writes the bytes of a socket.
    figure("transfer.floor_cpu", "s/GB", Bar::None),
    figure("transfer.floor_wall", "s", Bar::None),
    figure("recipient.peak_memory", "MiB", Bar::Ours(32.0)),
    // A clone with the real tool, against the tutorial's pipeline, and the tool alone with its output discarded.
    figure("clone.wall_vs_tutorial", "s", Bar::Ratio(0.40)),
    figure("clone.wall_vs_tool", "s", Bar::Ratio(1.6)),
    // Against a bare copy of the donor's tables from disk to disk, reading and writing at once.
    figure("clone.wall_vs_copy", "s", Bar::None),
    // Tool, relay and recipient together, against the tutorial's. MySQL's CLONE plugin takes 0.70.
    figure("clone.cpu_per_gb", "s/GB", Bar::None),
    // The steps after the copy, against the tool's default and the tutorial's statements.
    figure("clone.prepare_wall", "s", Bar::None),
    figure("clone.start_wall", "s", Bar::None),
    // A backup taken under heavy writes, against the tool's default memory.
    figure("prepare.wall", "s", Bar::Ratio(0.75)),
    // A server opens every table of a prepared copy: of 2.2 GB, and of 20,000 tables. The other figures are without it.
    figure("rehearsal.wall", "s", Bar::Ours(2.0)),
    figure("rehearsal.small_files_wall", "s", Bar::Ours(15.0)),
    // A donor's server lists 20,000 tables, and a recipient reads their first pages.
    figure("inventory.look_wall", "s", Bar::Ours(0.5)),
    figure("inventory.headers_wall", "s", Bar::Ours(2.0)),
    // 20,000 tables through both ends, against ncat and mbstream.
    figure("small_files.wall", "s", Bar::Ratio(0.8)),
    figure("small_files.recipient_cpu", "s/GB", Bar::None),
    figure("small_files.peak_memory", "MiB", Bar::Ours(32.0)),
];

/// Samples by the names of their figures.
#[derive(Default)]
pub struct Figures {
    samples: BTreeMap<&'static str, Samples>,
}

#[derive(Default)]
pub struct Samples {
    pub ours: Vec<f64>,
    pub peer: Vec<f64>,
}

/// A figure's medians. The ratio is that of the medians, so that the table's own numbers yield it.
pub struct Medians {
    pub ours: f64,
    pub peer: Option<f64>,
}

impl Figures {
    pub fn ours(&mut self, name: &'static str, value: f64) {
        self.samples.entry(name).or_default().ours.push(value);
    }

    pub fn peer(&mut self, name: &'static str, value: f64) {
        self.samples.entry(name).or_default().peer.push(value);
    }

    /// Figures that were measured, in order.
    pub fn measured(&self) -> impl Iterator<Item = (&'static Figure, &Samples)> {
        ALL.iter().filter_map(|figure| Some((figure, self.samples.get(figure.name)?)))
    }

    /// Each figure has one sample per run, and each sample a known figure.
    pub fn check(&self, runs: usize) -> Result<()> {
        for (name, samples) in &self.samples {
            ensure!(ALL.iter().any(|figure| figure.name == *name), "{name} is no figure");
            ensure!(samples.ours.len() == runs, "{name} has {} samples of {runs}", samples.ours.len());
            let peers = samples.peer.len();
            ensure!(peers == 0 || peers == runs, "{name} has {peers} samples of the peer of {runs}");
        }
        Ok(())
    }

    pub fn medians(&self) -> Value {
        let entry = |(figure, samples): (&Figure, &Samples)| {
            let medians = samples.medians();
            let bar = match figure.bar {
                Bar::None => None,
                Bar::Ratio(bar) | Bar::Ours(bar) => Some(bar),
            };
            json!({
                "name": figure.name, "unit": figure.unit, "ours": medians.ours, "peer": medians.peer,
                "ratio": medians.ratio(), "bar": bar,
            })
        };
        self.measured().map(entry).collect()
    }

    pub fn raw(&self) -> Value {
        let entry = |(figure, samples): (&Figure, &Samples)| json!({"name": figure.name, "unit": figure.unit, "ours": samples.ours, "peer": samples.peer});
        self.measured().map(entry).collect()
    }
}

impl Samples {
    pub fn medians(&self) -> Medians {
        Medians { ours: median(&self.ours), peer: (!self.peer.is_empty()).then(|| median(&self.peer)) }
    }

    /// Whether the bar is met, where there is one. A ratio is judged by the medians, ours alone by each sample.
    pub fn meets(&self, bar: Bar) -> Option<bool> {
        match bar {
            Bar::None => None,
            Bar::Ratio(bar) => Some(self.medians().ratio().is_some_and(|ratio| ratio <= bar)),
            Bar::Ours(bar) => Some(self.ours.iter().all(|ours| *ours <= bar)),
        }
    }
}

impl Medians {
    pub fn ratio(&self) -> Option<f64> {
        self.peer.map(|peer| self.ours / peer)
    }
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[odd / 2],
        even => (values[even / 2 - 1] + values[even / 2]) / 2.0,
    }
}

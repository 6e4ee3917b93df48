//! Rounds of torture. The seed and the round's number alone decide every kill and its time. The demands afterwards are
//! always the same.

mod crowd;
mod demands;
mod load;
mod plan;
mod tally;

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::Signal;

use crate::pods::{Cluster, PATIENCE};
use crate::set;
use crowd::Crowd;
use demands::Demands;
use load::Load;
use plan::{Act, Plan, What};
use tally::Tally;

/// A clone of this many tables takes several seconds, and kills must hit all of them.
const MANY: u32 = 500;
const LATEST: Duration = Duration::from_millis(1500);
const LATEST_OF_MANY: Duration = Duration::from_millis(5000);

pub const PODS: [&str; 3] = ["mysql-0", "mysql-1", "mysql-2"];

/// A tortured set.
pub struct Torture {
    cluster: Cluster,
    seed: u64,
    crowd: Crowd,
    /// The longest pause before an act.
    latest: Duration,
    tally: Tally,
}

impl Torture {
    /// With this many tables beside the busiest ones.
    pub fn start(seed: u64, tables: u32) -> Result<Torture> {
        let cluster = set::start(PODS.len() as u32, |manifests| {
            set::notice_gone_replicas_soon(manifests);
            crowd::schedule_events(manifests);
        })?;
        cluster.wait_ready(PODS.len())?;
        set::fill(&cluster)?;
        // Makes a clone long enough for kills.
        set::fill_much(&cluster, 4)?;
        set::assert_same_rows(&cluster, &PODS)?;
        let crowd = Crowd::make(&cluster, tables)?;
        let latest = if tables < MANY { LATEST } else { LATEST_OF_MANY };
        Ok(Torture { cluster, seed, crowd, latest, tally: Tally::default() })
    }

    /// Ends at the first failed demand, and keeps the logs.
    pub fn run(&mut self, rounds: RangeInclusive<u64>) -> Result<()> {
        for number in rounds {
            let plan = Plan::of(self.seed, number, self.latest);
            self.round(&plan).map_err(|error| {
                let kept =
                    self.keep_logs(number).map_or_else(|error| format!("{error:#}"), |at| at.display().to_string());
                let repeat = format!("make torture SEED={} TABLES={} ROUND={number}", self.seed, self.crowd.tables());
                error.context(format!("violated in round {number}: {plan}\nrepeat with: {repeat}\nlogs: {kept}"))
            })?;
        }
        Ok(())
    }

    pub fn summary(&self) -> String {
        self.tally.to_string()
    }

    fn round(&mut self, plan: &Plan) -> Result<()> {
        let (started, events) = (Instant::now(), self.cluster.events().len());
        let demands = Demands::before(&self.cluster, plan.target)?;
        let done = std::thread::scope(|scope| {
            let load = Load::start(scope, &self.cluster, self.crowd);
            let done = self.disturb(plan)?;
            demands.while_it_comes_up(&self.cluster)?;
            load.finish()?;
            anyhow::Ok(done)
        })?;
        demands.afterwards(&self.cluster)?;
        self.crowd.demand(&self.cluster, &PODS)?;
        let events = self.cluster.events().split_off(events);
        demands::ends_are_allowed(&events)?;
        let line = self.tally.round(plan, &done, &events, started.elapsed());
        println!("{line}");
        Ok(())
    }

    /// Carries out the plan. Returns the state that each act met, if it met any.
    fn disturb(&self, plan: &Plan) -> Result<Vec<Option<String>>> {
        if plan.clones_again {
            self.cluster.delete_volume(plan.target)?;
        }
        let mut done = Vec::new();
        for act in &plan.acts {
            std::thread::sleep(act.after);
            let state = set::state(&self.cluster, plan.target).unwrap_or_else(|| "nothing".to_owned());
            done.push(self.act(act).then_some(state));
        }
        Ok(done)
    }

    /// Whether the act hit something.
    fn act(&self, act: &Act) -> bool {
        match act.what {
            What::Kill(container) => self.kill(act.pod, container).is_ok(),
            What::DeletePod => self.cluster.delete_pod(act.pod).is_ok(),
            What::CutNetwork(time) => self.cut_network(act.pod, time).is_ok(),
        }
    }

    /// Returns once the harness has noticed: until then it takes the dead container for a ready one.
    fn kill(&self, pod: &str, container: &str) -> Result<()> {
        let killed = self.cluster.pid(pod, container)?;
        self.cluster.signal(pod, container, Signal::KILL)?;
        self.cluster
            .wait_for("a container to be gone", PATIENCE, || Ok(self.cluster.pid(pod, container).ok() != Some(killed)))
    }

    fn cut_network(&self, pod: &str, time: Duration) -> Result<()> {
        let before = self.cluster.status(pod)?.uid;
        self.cluster.set_network(pod, false)?;
        std::thread::sleep(time);
        // A new pod has a new network.
        if self.cluster.status(pod).is_ok_and(|status| status.uid == before) {
            self.cluster.set_network(pod, true)?;
        }
        Ok(())
    }

    fn keep_logs(&self, round: u64) -> Result<PathBuf> {
        let place = crate::kept().join(format!("torture-{}-{round}", self.seed));
        std::fs::create_dir_all(&place)?;
        for pod in PODS {
            let logs = self.cluster.shared.directory.join("logs").join(pod);
            for log in std::fs::read_dir(&logs).with_context(|| logs.display().to_string())?.flatten() {
                std::fs::copy(log.path(), place.join(format!("{pod}.{}", log.file_name().to_string_lossy())))?;
            }
        }
        std::fs::write(place.join("events"), self.cluster.events().join("\n"))?;
        std::fs::write(place.join("description"), self.cluster.describe())?;
        Ok(place)
    }
}

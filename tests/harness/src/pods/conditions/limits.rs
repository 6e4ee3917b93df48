//! Limits of containers: descriptors, memory, processes, time, and the kernel's files that show them.

use rustix::process::{Resource, getrlimit};

use super::{Condition, Subject, Surroundings};
use crate::pods::groups::{self, Controller};
use crate::pods::manifest::Manifests;
use crate::pods::servers::tested;

/// The limits of every container of a cluster.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Soft, and hard where it differs from the harness's own.
    pub descriptors: (u64, Option<u64>),
    /// The number in one container.
    pub processes: Option<u32>,
    /// The share of one core for one container.
    pub percent: Option<u32>,
    /// Whether a container that exceeds the manifest's memory is killed.
    pub enforces_memory: bool,
    pub tree: Tree,
}

/// The tree in which a container reads its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tree {
    /// Control groups of the second version.
    Second,
    /// Control groups of the first version.
    First,
}

impl Default for Limits {
    /// Descriptors as containerd has them since 2.0: the hard limit is far above. All other limits are generous.
    fn default() -> Limits {
        Limits { descriptors: (1024, None), processes: None, percent: None, enforces_memory: false, tree: Tree::Second }
    }
}

impl Limits {
    /// The argument for prlimit(1).
    pub fn nofile(&self) -> String {
        let (soft, hard) = self.descriptors;
        format!("--nofile={soft}:{}", hard.map(|hard| hard.to_string()).unwrap_or_default())
    }

    /// Files below `/sys/fs/cgroup`. `memory` is the memory's limit in the form of the second version.
    pub fn shown(&self, memory: &str) -> Vec<(&'static str, String)> {
        let processes = self.processes.map_or_else(|| "max".to_owned(), |count| count.to_string());
        let quota = self.percent.map(|percent| format!("{percent}000"));
        match self.tree {
            Tree::Second => vec![
                ("memory.max", memory.to_owned()),
                ("pids.max", processes),
                ("cpu.max", format!("{} 100000", quota.as_deref().unwrap_or("max"))),
            ],
            Tree::First => vec![
                // The first version shows a missing limit as a number. (Of pages, in bytes.)
                ("memory/memory.limit_in_bytes", memory.replace("max", "9223372036854771712")),
                ("pids/pids.max", processes),
                ("cpu/cpu.cfs_quota_us", quota.unwrap_or_else(|| "-1".to_owned())),
                ("cpu/cpu.cfs_period_us", "100000".to_owned()),
            ],
        }
    }
}

/// Open files: as containers start since containerd 2.0, and before.
pub struct Descriptors {
    name: &'static str,
    soft: u64,
    hard: u64,
}

/// The harness's own hard limit, which no container can exceed.
fn own_descriptors() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// The kernel's limit for any process.
fn most_descriptors() -> u64 {
    std::fs::read_to_string("/proc/sys/fs/nr_open").ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1 << 20)
}

impl Descriptors {
    pub const FEW: Descriptors = Descriptors { name: "descriptors-1024", soft: 1024, hard: 524_288 };
    pub const BILLION: Descriptors =
        Descriptors { name: "descriptors-billion", soft: 1_000_000_000, hard: 1_000_000_000 };
}

impl Condition for Descriptors {
    fn name(&self) -> &'static str {
        self.name
    }

    fn subject(&self) -> Subject {
        Subject::Descriptors
    }

    fn why_not(&self) -> Option<String> {
        let (own, needed) = (own_descriptors(), self.hard.min(most_descriptors()));
        // A hard limit below that of the field is stricter, and acceptable. One below the soft limit is another
        // condition.
        (own < self.soft.min(needed)).then(|| format!("its hard limit is {own} descriptors, {needed} are needed"))
    }

    fn change_surroundings(&self, surroundings: &mut Surroundings) {
        let hard = self.hard.min(most_descriptors()).min(own_descriptors());
        surroundings.limits.descriptors = (self.soft.min(hard), Some(hard));
    }
}

/// A memory limit a little above the programs' needs, and enforced.
pub struct SmallMemory;

impl Condition for SmallMemory {
    fn name(&self) -> &'static str {
        "small-memory"
    }

    fn subject(&self) -> Subject {
        Subject::Memory
    }

    fn why_not(&self) -> Option<String> {
        groups::why_not(Controller::Memory)
    }

    fn change_manifests(&self, manifests: &mut Manifests) {
        // A copy by the CLONE plugin needs a server that writes. The others' limits are small as shipped.
        let clones = if tested().is_mariadb() { "256Mi" } else { "384Mi" };
        for (container, size) in [("clone", clones), ("sidecar", "128Mi"), ("mysql", "640Mi")] {
            manifests.container(container).resources.limits.memory = Some(size.to_owned());
        }
    }

    fn change_surroundings(&self, surroundings: &mut Surroundings) {
        surroundings.limits.enforces_memory = true;
        // Files of a file system in memory would count as the container's.
        surroundings.on_disk = true;
    }
}

/// Enough processes and threads for a server, with little to spare.
pub struct FewProcesses;

impl Condition for FewProcesses {
    fn name(&self) -> &'static str {
        "few-processes"
    }

    fn subject(&self) -> Subject {
        Subject::Processes
    }

    fn why_not(&self) -> Option<String> {
        groups::why_not(Controller::Processes)
    }

    fn change_surroundings(&self, surroundings: &mut Surroundings) {
        surroundings.limits.processes = Some(96);
    }
}

/// A tenth of a core for each container.
pub struct TenthOfCore;

impl Condition for TenthOfCore {
    fn name(&self) -> &'static str {
        "tenth-of-core"
    }

    fn subject(&self) -> Subject {
        Subject::Cores
    }

    fn why_not(&self) -> Option<String> {
        groups::why_not(Controller::Cores)
    }

    fn change_surroundings(&self, surroundings: &mut Surroundings) {
        surroundings.limits.percent = Some(10);
        surroundings.patience *= 6;
    }
}

/// A kernel that shows the limits in the files of the first version of control groups.
pub struct FirstGroups;

impl Condition for FirstGroups {
    fn name(&self) -> &'static str {
        "cgroup-v1"
    }

    fn subject(&self) -> Subject {
        Subject::Groups
    }

    fn change_surroundings(&self, surroundings: &mut Surroundings) {
        surroundings.limits.tree = Tree::First;
    }
}

//! Control groups of either version that enforce a container's limits, where this machine allows them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

const ROOT: &str = "/sys/fs/cgroup";

/// The prefix of the groups' names. This process's id and a number follow.
const NAME: &str = "mysqlset-pods-";

/// The subject of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    Memory,
    Processes,
    Cores,
    Disk,
}

impl Controller {
    /// The first version's name and the second's.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Controller::Memory => ("memory", "memory"),
            Controller::Processes => ("pids", "pids"),
            Controller::Cores => ("cpu", "cpu"),
            Controller::Disk => ("blkio", "io"),
        }
    }

    /// The parent of groups with this controller.
    fn parent(self) -> Option<Parent> {
        let (first, second) = self.names();
        let of_first = Path::new(ROOT).join(first);
        if of_first.join("cgroup.procs").exists() {
            return Some(Parent { path: of_first, is_second: false });
        }
        let enabled = std::fs::read_to_string(Path::new(ROOT).join("cgroup.subtree_control")).ok()?;
        let is_there = enabled.split_whitespace().any(|name| name == second);
        is_there.then(|| Parent { path: ROOT.into(), is_second: true })
    }
}

struct Parent {
    path: PathBuf,
    is_second: bool,
}

/// One limit.
#[derive(Clone, Debug)]
pub enum Limit {
    /// Bytes.
    Memory(u64),
    Processes(u32),
    /// Of one core.
    Percent(u32),
    /// Operations a second in each direction, on the device `major:minor`.
    Operations(String, u32),
}

impl Limit {
    fn controller(&self) -> Controller {
        match self {
            Limit::Memory(_) => Controller::Memory,
            Limit::Processes(_) => Controller::Processes,
            Limit::Percent(_) => Controller::Cores,
            Limit::Operations(..) => Controller::Disk,
        }
    }

    /// The files of a group, and their new contents.
    fn files(&self, is_second: bool) -> Vec<(&'static str, String)> {
        match (self, is_second) {
            (Limit::Memory(bytes), false) => vec![("memory.limit_in_bytes", bytes.to_string())],
            (Limit::Memory(bytes), true) => vec![("memory.max", bytes.to_string())],
            (Limit::Processes(count), _) => vec![("pids.max", count.to_string())],
            (Limit::Percent(percent), false) => {
                vec![("cpu.cfs_period_us", "100000".into()), ("cpu.cfs_quota_us", format!("{percent}000"))]
            }
            (Limit::Percent(percent), true) => vec![("cpu.max", format!("{percent}000 100000"))],
            (Limit::Operations(device, count), false) => vec![
                ("blkio.throttle.read_iops_device", format!("{device} {count}")),
                ("blkio.throttle.write_iops_device", format!("{device} {count}")),
            ],
            (Limit::Operations(device, count), true) => {
                vec![("io.max", format!("{device} riops={count} wiops={count}"))]
            }
        }
    }
}

/// The reason why a controller's limits cannot be enforced on this machine.
pub fn why_not(controller: Controller) -> Option<String> {
    let (name, _) = controller.names();
    let Some(parent) = controller.parent() else { return Some(format!("no control group has the controller {name}")) };
    let probe = parent.path.join(format!("{NAME}{}-probe-{name}", std::process::id()));
    let made = std::fs::create_dir(&probe);
    let _ = std::fs::remove_dir(&probe);
    made.err().map(|error| format!("no control group can be made in {}: {error}", parent.path.display()))
}

/// The groups of one container.
#[derive(Debug, Default)]
pub struct Groups(Vec<PathBuf>);

impl Groups {
    pub fn make(limits: &[Limit]) -> Result<Groups> {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let name = format!("{NAME}{}-{}", std::process::id(), NUMBERS.fetch_add(1, Ordering::Relaxed));
        let mut groups = Groups::default();
        for limit in limits {
            let controller = limit.controller();
            let parent = controller.parent().with_context(|| format!("no controller for {limit:?}"))?;
            remove_leftovers(&parent.path);
            let path = parent.path.join(&name);
            if !groups.0.contains(&path) {
                std::fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
                groups.0.push(path.clone());
            }
            for (file, text) in limit.files(parent.is_second) {
                let file = path.join(file);
                std::fs::write(&file, &text).with_context(|| format!("writing {text} to {}", file.display()))?;
            }
        }
        Ok(groups)
    }

    /// The same command, run by a process that has joined them.
    pub fn joined(&self, command: Command) -> Command {
        if self.0.is_empty() {
            return command;
        }
        let mut joined = Command::new("sh");
        let join = r#"while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs" || exit; shift; done; shift; exec "$@""#;
        joined.args(["-c", join, "join"]).args(&self.0).arg("--").arg(command.get_program()).args(command.get_args());
        joined
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        // The last process may be about to end.
        for group in &self.0 {
            let mut tries = 0..50;
            while std::fs::remove_dir(group).is_err() && tries.next().is_some() {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// Groups of earlier containers whose last process had outlived them, and of killed test processes. A group with a
/// process in it stays.
fn remove_leftovers(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(owner) = name.strip_prefix(NAME).and_then(|rest| rest.split('-').next()) else { continue };
        if !Path::new("/proc").join(owner).exists() {
            let _ = std::fs::remove_dir(entry.path());
        }
    }
}

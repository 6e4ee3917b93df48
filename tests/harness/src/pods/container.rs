//! One container: a process in namespaces of its own, the first in its process namespace.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mysqlset::model::event::Event;
use rustix::process::{Pid, Signal, kill_process};

use super::conditions::Limits;
use super::groups::{Groups, Limit};
use super::images::Images;
use super::manifest::{Container, SecurityContext};
use super::network::PodNetwork;
use super::spawner;

/// How a container's first process ended.
#[derive(Clone, Debug)]
pub struct Termination {
    pub exit_code: i32,
    /// The content of its /dev/termination-log.
    pub message: String,
}

impl Termination {
    /// Whether its message begins with this event.
    pub fn is(&self, event: Event) -> bool {
        self.message.starts_with(&format!("{event}: "))
    }
}

/// The parts that all containers of a pod share.
pub struct World<'a> {
    /// The pod's name and annotations, for the downward API.
    pub pod: &'a str,
    pub annotations: &'a BTreeMap<String, String>,
    pub images: &'a Images,
    pub network: &'a PodNetwork,
    /// The process whose mounts the containers see, and in whose process namespace they live.
    pub cluster: u32,
    pub user: &'a SecurityContext,
    /// The directory of files that every container finds in /etc.
    pub files: PathBuf,
    /// The limits of every container.
    pub limits: &'a Limits,
    /// The current speed limits of the pod's volumes.
    pub disk: &'a dyn Fn() -> Result<Vec<Limit>>,
    /// The directory for logs.
    pub logs: PathBuf,
    /// The path of a volume of the pod, by its name.
    pub volume: &'a dyn Fn(&str) -> Result<PathBuf>,
    /// Whether the volume is read-only by its kind, independent of its mount.
    pub is_read_only: &'a dyn Fn(&str) -> bool,
}

/// A container that was started.
pub struct Running {
    outer: Mutex<Child>,
    /// The container's first process as the machine sees it.
    pub pid: u32,
    termination_log: PathBuf,
    user: (u32, u32),
    environment: Vec<(String, String)>,
    nofile: String,
    /// Removed after its processes.
    groups: Groups,
}

impl Running {
    pub fn start(container: &Container, world: &World<'_>) -> Result<Running> {
        let log_path = world.logs.join(format!("{}.log", container.name));
        let mut log = OpenOptions::new().create(true).append(true).open(&log_path)?;
        writeln!(log, "---- {} starts", container.name)?;
        let termination_log = world.logs.join(format!("{}.termination", container.name));
        File::create(&termination_log)?;
        rustix::fs::chmod(&termination_log, 0o666.into())?;

        let user = user_of(container, world);
        let groups = Groups::make(&enforced(container, world)?)?;
        let mut command = groups.joined(bubblewrap(container, user, world, &termination_log)?);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut outer = spawner::spawn(command)?;
        let pid = first_process(&mut outer).with_context(|| format!("container {}", container.name))?;
        Ok(Running {
            outer: Mutex::new(outer),
            pid,
            termination_log,
            user,
            environment: environment(container, world)?,
            nofile: world.limits.nofile(),
            groups,
        })
    }

    /// Its result, once it has ended.
    pub fn ended(&self) -> Result<Option<Termination>> {
        let status = self.outer.lock().expect("container").try_wait()?;
        Ok(status.map(|status| self.termination(status)))
    }

    /// Sends a signal to the container's first process.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Runs a command inside, as the container's user, and kills it at the time limit.
    pub fn exec(&self, arguments: &[String], limit: Duration) -> Result<Output> {
        let (uid, gid) = self.user;
        let mut command = Command::new("prlimit");
        command.args([&self.nofile, "timeout"]);
        command
            .args(["-s", "KILL", &format!("{}", limit.as_secs_f64()), "nsenter", "-t", &self.pid.to_string()])
            .args(["-U", "-m", "-n", "-u", "-i", "-p", "-S", &uid.to_string(), "-G", &gid.to_string(), "--"])
            .args(arguments);
        let mut command = self.groups.joined(command);
        command.env_clear().envs(self.environment.iter().cloned()).stdin(Stdio::null());
        command.output().with_context(|| format!("starting {command:?}"))
    }

    fn termination(&self, status: ExitStatus) -> Termination {
        let exit_code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
        Termination { exit_code, message: std::fs::read_to_string(&self.termination_log).unwrap_or_default() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After its end, its number may belong to another process.
        if !matches!(self.ended(), Ok(Some(_))) {
            self.signal(Signal::KILL);
        }
        spawner::end(self.outer.get_mut().expect("container"));
    }
}

/// The grandchild of bubblewrap's outer process, once it runs the container's program. Before that nothing can run
/// beside it.
fn first_process(outer: &mut Child) -> Result<u32> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(pid) = spawner::child_of(outer.id()).and_then(spawner::child_of)
            && std::fs::read_to_string(format!("/proc/{pid}/comm")).map_or(true, |name| name.trim() != "bwrap")
        {
            return Ok(pid);
        }
        if outer.try_wait()?.is_some() {
            // It ended before this look; the next call of `ended` returns its result.
            return Ok(outer.id());
        }
        anyhow::ensure!(Instant::now() < deadline, "not started after 20 seconds");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The environment of its first process, its probes and its hooks.
fn environment(container: &Container, world: &World<'_>) -> Result<Vec<(String, String)>> {
    let images = [("PATH", super::PATH), ("HOME", "/tmp")].map(|(name, value)| Ok((name.to_owned(), value.to_owned())));
    let own = container.env.iter();
    let own = own.map(|set| Ok((set.name.clone(), set.value_in(world.pod, world.annotations)?)));
    images.into_iter().chain(own).collect()
}

/// User and group.
fn user_of(container: &Container, world: &World<'_>) -> (u32, u32) {
    let own = &container.security_context;
    (own.run_as_user.unwrap_or(world.user.run_as_user), own.run_as_group.unwrap_or(world.user.run_as_group))
}

/// The enforced limits.
fn enforced(container: &Container, world: &World<'_>) -> Result<Vec<Limit>> {
    let mut limits = (world.disk)()?;
    limits.extend(world.limits.processes.map(Limit::Processes));
    limits.extend(world.limits.percent.map(Limit::Percent));
    if world.limits.enforces_memory
        && let Ok(bytes) = container.resources.limits.memory_max()?.parse()
    {
        limits.push(Limit::Memory(bytes));
    }
    Ok(limits)
}

/// Files with the container's limits in the kernel's form, and their paths inside.
fn shown_limits(container: &Container, world: &World<'_>) -> Result<Vec<(PathBuf, PathBuf)>> {
    let directory = world.logs.join(format!("{}.cgroup", container.name));
    let shown = world.limits.shown(&container.resources.limits.memory_max()?);
    let write = |(name, text): (&str, String)| -> Result<(PathBuf, PathBuf)> {
        let path = directory.join(name.replace('/', "_"));
        std::fs::create_dir_all(&directory)?;
        std::fs::write(&path, text)?;
        Ok((path, Path::new("/sys/fs/cgroup").join(name)))
    };
    shown.into_iter().map(write).collect()
}

fn bubblewrap(
    container: &Container,
    (user, group): (u32, u32),
    world: &World<'_>,
    termination_log: &PathBuf,
) -> Result<Command> {
    let image = world.images.find(&container.image)?;
    let (user, group) = (user.to_string(), group.to_string());
    let is_read_only = container.security_context.read_only_root_filesystem;
    let mut command = Command::new("prlimit");
    command
        .args([
            world.limits.nofile().as_str(),
            "nsenter",
            "-t",
            &world.network.pid().to_string(),
            "-n",
            "-u",
            "--",
            "nsenter",
            "-t",
            &world.cluster.to_string(),
            "-m",
            "-p",
        ])
        .args(["--", "setpriv", "--reuid", &user, "--regid", &group, "--groups", &world.user.fs_group.to_string()])
        .args([
            "--inh-caps=-all",
            "--no-new-privs",
            "bwrap",
            "--die-with-parent",
            "--unshare-pid",
            "--unshare-ipc",
            "--as-pid-1",
        ])
        .args(["--proc", "/proc", "--dev", "/dev", "--clearenv", "--chdir", "/"]);
    world.images.add_root(&mut command, &image, is_read_only);
    command.arg("--bind").arg(termination_log).arg("/dev/termination-log");
    for (file, place) in shown_limits(container, world)? {
        command.arg("--ro-bind").arg(file).arg(place);
    }
    for file in std::fs::read_dir(&world.files)? {
        let file = file?;
        command.arg("--ro-bind").arg(file.path()).arg(Path::new("/etc").join(file.file_name()));
    }
    for mount in &container.volume_mounts {
        let mut source = (world.volume)(&mount.name)?;
        if let Some(sub_path) = &mount.sub_path {
            source.push(sub_path);
        }
        let is_read_only = mount.read_only || (world.is_read_only)(&mount.name);
        command.arg(if is_read_only { "--ro-bind" } else { "--bind" }).arg(source).arg(&mount.mount_path);
    }
    for volume in image.volumes {
        if container.volume_mounts.iter().all(|mount| mount.mount_path != *volume) {
            command.args(["--perms", "1777", "--tmpfs", volume]);
        }
    }
    if is_read_only {
        command.args(["--remount-ro", "/"]);
    }
    for (name, value) in environment(container, world)? {
        command.args(["--setenv", &name, &value]);
    }
    command.arg("--");
    match &container.command {
        Some(words) => command.args(words),
        None => command.args(image.entrypoint),
    };
    match (&container.args, &container.command) {
        (Some(words), _) => command.args(words),
        (None, None) => command.args(image.default_args),
        (None, Some(_)) => &mut command,
    };
    Ok(command)
}

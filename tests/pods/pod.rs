//! A pod's life: init containers in turn, then all containers, each restarted when it ends, until the pod is deleted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::Signal;

use super::Shared;
use super::container::{Running, Termination, World};
use super::manifest::Container;
use super::network::PodNetwork;
use super::probes::Prober;
use super::volumes;

/// Kubernetes starts a failed container again after 10 s, then 20 s, … up to 5 minutes; here it is quicker.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_secs(4);

/// A container that has run for this long starts again as if it had never failed; for kubelet it is 10 minutes.
const FORGIVEN_AFTER: Duration = Duration::from_secs(30);

/// Between two looks at a pod's containers.
const PERIOD: Duration = Duration::from_millis(15);

/// What is known of a container.
#[derive(Clone, Debug, Default)]
pub struct ContainerStatus {
    /// The container's first process as the machine sees it, while it runs.
    pub pid: Option<u32>,
    pub restarts: u32,
    pub ready: bool,
    pub last_termination: Option<Termination>,
}

/// What is known of a pod.
#[derive(Clone, Debug, Default)]
pub struct PodStatus {
    /// New for each pod that bears the name.
    pub uid: u64,
    pub containers: BTreeMap<String, ContainerStatus>,
    /// Whether all init containers are done and all containers ready.
    pub ready: bool,
    pub initialised: bool,
}

/// A pod that lives in a thread of its own.
pub struct Pod {
    pub name: String,
    pub network: PodNetwork,
    pub status: Mutex<PodStatus>,
    pub deleted: AtomicBool,
    pub gone: AtomicBool,
    containers: Mutex<BTreeMap<String, Arc<Running>>>,
}

impl Pod {
    /// Makes the pod's network and starts its life.
    pub fn start(shared: &Arc<Shared>, name: &str, claims: BTreeMap<String, String>) -> Result<Arc<Pod>> {
        let uid = shared.next_number();
        let network = shared.network.add_pod(name, uid as u32)?;
        let status = Mutex::new(PodStatus { uid, ..PodStatus::default() });
        let pod = Arc::new(Pod {
            name: name.to_owned(),
            network,
            status,
            deleted: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            containers: Mutex::default(),
        });
        let (life, shared) = (pod.clone(), shared.clone());
        std::thread::spawn(move || {
            let directory = shared.directory.join("pods").join(format!("{}-{uid}", life.name));
            if let Err(error) = life.live(&shared, &directory, &claims) {
                shared.event(format!("{}: the harness failed: {error:#}", life.name));
            }
            life.containers.lock().expect("containers").clear();
            let _ = std::fs::remove_dir_all(directory.join("volumes"));
            life.gone.store(true, Ordering::Release);
        });
        Ok(pod)
    }

    /// A container that runs.
    pub fn container(&self, name: &str) -> Result<Arc<Running>> {
        let containers = self.containers.lock().expect("containers");
        containers.get(name).cloned().with_context(|| format!("{}: container {name} does not run", self.name))
    }

    fn live(self: &Arc<Pod>, shared: &Arc<Shared>, directory: &Path, claims: &BTreeMap<String, String>) -> Result<()> {
        let spec = &shared.manifests.stateful_set.spec.template.spec;
        let volumes_directory = directory.join("volumes");
        std::fs::create_dir_all(&volumes_directory)?;
        volumes::provide_for_pod(spec, &shared.manifests, &volumes_directory)?;
        let mut places = BTreeMap::new();
        for (volume, claim) in claims {
            let place = shared.claims.provide(claim, &spec.security_context, &shared.network)?;
            places.insert(volume.clone(), (place, shared.claims.path(claim, &shared.network)));
        }
        let logs = shared.directory.join("logs").join(&self.name);
        std::fs::create_dir_all(&logs)?;
        let volume = |name: &str| -> Result<PathBuf> {
            Ok(places.get(name).map_or_else(|| volumes_directory.join(name), |(inside, _)| inside.clone()))
        };
        let world = World {
            images: &shared.images,
            network: &self.network,
            cluster: shared.network.pid(),
            user: &spec.security_context,
            hosts: shared.directory.join("hosts"),
            resolv_conf: shared.directory.join("resolv.conf"),
            logs,
            volume: &volume,
        };
        let sub_paths = |container: &Container| -> Result<()> {
            for mount in &container.volume_mounts {
                if let Some(sub_path) = &mount.sub_path {
                    let seen = places
                        .get(&mount.name)
                        .map_or_else(|| volumes_directory.join(&mount.name), |(_, seen)| seen.clone());
                    volumes::provide_sub_path(&seen, sub_path, &spec.security_context)?;
                }
            }
            Ok(())
        };
        for container in &spec.init_containers {
            let mut keeper = Keeper::new(container);
            while !self.is_deleted() && !keeper.is_done() {
                sub_paths(container)?;
                keeper.look(self, shared, &world, true)?;
                std::thread::sleep(PERIOD);
            }
        }
        self.status.lock().expect("status").initialised = !self.is_deleted();
        let mut keepers: Vec<Keeper<'_>> = spec.containers.iter().map(Keeper::new).collect();
        while !self.is_deleted() {
            for keeper in &mut keepers {
                sub_paths(keeper.container)?;
                keeper.look(self, shared, &world, false)?;
            }
            self.refresh(&keepers);
            std::thread::sleep(PERIOD);
        }
        keepers.iter_mut().for_each(|keeper| keeper.prober = None);
        self.terminate(shared, Duration::from_secs(spec.termination_grace_period_seconds))
    }

    fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    fn refresh(&self, keepers: &[Keeper<'_>]) {
        let mut status = self.status.lock().expect("status");
        for keeper in keepers {
            if let Some(container) = status.containers.get_mut(&keeper.container.name) {
                container.ready = container.pid.is_some() && keeper.prober.as_ref().is_some_and(Prober::is_ready);
            }
        }
        status.ready = keepers
            .iter()
            .all(|keeper| status.containers.get(&keeper.container.name).is_some_and(|container| container.ready));
    }

    /// SIGTERM to every container, the grace period, SIGKILL.
    fn terminate(&self, shared: &Shared, grace: Duration) -> Result<()> {
        self.status.lock().expect("status").ready = false;
        let running: Vec<(String, Arc<Running>)> =
            self.containers.lock().expect("containers").clone().into_iter().collect();
        self.containers.lock().expect("containers").clear();
        running.iter().for_each(|(_, container)| container.signal(Signal::TERM));
        let (started, deadline) = (Instant::now(), Instant::now() + grace);
        let mut waiting = running;
        while !waiting.is_empty() && Instant::now() < deadline {
            let mut still = Vec::new();
            for (name, container) in waiting {
                match container.ended()? {
                    Some(end) => shared.event(format!(
                        "{}: {name} ended with {} after {:.1} s",
                        self.name,
                        end.exit_code,
                        started.elapsed().as_secs_f64()
                    )),
                    None => still.push((name, container)),
                }
            }
            waiting = still;
            std::thread::sleep(PERIOD);
        }
        for (name, _) in &waiting {
            shared.event(format!("{}: {name} did not end within its grace period and is killed", self.name));
        }
        Ok(())
    }
}

/// Keeps one container running.
struct Keeper<'a> {
    container: &'a Container,
    prober: Option<Prober>,
    backoff: Duration,
    not_before: Instant,
    started: Instant,
    done: bool,
}

impl<'a> Keeper<'a> {
    fn new(container: &'a Container) -> Keeper<'a> {
        let now = Instant::now();
        Keeper { container, prober: None, backoff: FIRST_BACKOFF, not_before: now, started: now, done: false }
    }

    fn is_done(&self) -> bool {
        self.done
    }

    /// Starts the container where it doesn't run, and notices its end.
    fn look(&mut self, pod: &Arc<Pod>, shared: &Arc<Shared>, world: &World<'_>, once: bool) -> Result<()> {
        let name = &self.container.name;
        let running = pod.containers.lock().expect("containers").get(name).cloned();
        let Some(running) = running else { return self.start(pod, shared, world) };
        let Some(end) = running.ended()? else {
            if self.prober.as_ref().is_some_and(Prober::is_dead) {
                shared.event(format!("{}: {name} fails its liveness probe and is killed", pod.name));
                running.signal(Signal::KILL);
            }
            return Ok(());
        };
        pod.containers.lock().expect("containers").remove(name);
        self.prober = None;
        self.done = once && end.exit_code == 0;
        let mut message = format!("{}: {name} ended with {}", pod.name, end.exit_code);
        if !end.message.is_empty() {
            message += &format!(": {}", end.message);
        }
        shared.event(message);
        let mut status = pod.status.lock().expect("status");
        let container = status.containers.entry(name.clone()).or_default();
        container.pid = None;
        container.last_termination = Some(end);
        if !self.done {
            container.restarts += 1;
            if self.started.elapsed() > FORGIVEN_AFTER {
                self.backoff = FIRST_BACKOFF;
            }
            self.not_before = Instant::now() + self.backoff;
            self.backoff = (self.backoff * 2).min(LONGEST_BACKOFF);
        }
        Ok(())
    }

    fn start(&mut self, pod: &Arc<Pod>, shared: &Arc<Shared>, world: &World<'_>) -> Result<()> {
        if Instant::now() < self.not_before {
            return Ok(());
        }
        let name = &self.container.name;
        let running = Running::start(self.container, world)?;
        self.started = Instant::now();
        let mut status = pod.status.lock().expect("status");
        let container = status.containers.entry(name.clone()).or_default();
        container.pid = Some(running.pid);
        shared.event(format!("{}: {name} starts", pod.name));
        pod.containers.lock().expect("containers").insert(name.clone(), Arc::new(running));
        self.prober = Some(Prober::start(pod, self.container, shared));
        Ok(())
    }
}

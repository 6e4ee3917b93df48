//! A pod's life: the init containers one by one, then all containers, each restarted after its end, until the pod is
//! deleted. An init container with the restart policy Always is a sidecar: it continues, and ends after the others.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::Signal;

use super::Shared;
use super::conditions::Surroundings;
use super::container::{Running, Termination, World};
use super::keeper::Keeper;
use super::manifest::{Container, Manifests, PodSpec, selects};
use super::network::PodNetwork;
use super::policies::{Caller, Known, NAMESPACE};
use super::probes::Prober;
use super::{dns, policies, volumes};

/// Between two looks at a pod's containers.
const PERIOD: Duration = Duration::from_millis(15);

/// The node's name, in a form of clouds.
const NODE: &str = "worker-1";

/// The known state of a container.
#[derive(Clone, Debug, Default)]
pub struct ContainerStatus {
    /// The container's first process as the machine sees it, while it runs.
    pub pid: Option<u32>,
    pub restarts: u32,
    pub ready: bool,
    pub last_termination: Option<Termination>,
}

/// The known state of a pod.
#[derive(Clone, Debug, Default)]
pub struct PodStatus {
    /// New for each pod of the name.
    pub uid: u64,
    pub containers: BTreeMap<String, ContainerStatus>,
    /// Whether all init containers are done and all containers ready.
    pub ready: bool,
    pub initialised: bool,
}

/// A pod, which lives in a thread of its own.
pub struct Pod {
    pub name: String,
    /// The manifests that it was made of.
    pub manifests: Arc<Manifests>,
    pub network: PodNetwork,
    pub status: Mutex<PodStatus>,
    /// From its template, until a test changes them.
    pub labels: Mutex<BTreeMap<String, String>>,
    pub deleted: AtomicBool,
    pub gone: AtomicBool,
    pub containers: Mutex<BTreeMap<String, Arc<Running>>>,
}

impl Pod {
    /// Makes the pod's network and starts its life.
    pub fn start(shared: &Arc<Shared>, name: &str, claims: BTreeMap<String, String>) -> Result<Arc<Pod>> {
        let uid = shared.next_number();
        let manifests = shared.manifests();
        let is_nodes = manifests.stateful_set.spec.template.spec.host_network;
        let hostname = if is_nodes { NODE.to_owned() } else { shared.surroundings.hostname.of(name, shared) };
        let network = shared.network.add_pod(&hostname, uid as u32)?;
        let status = Mutex::new(PodStatus { uid, ..PodStatus::default() });
        let pod = Arc::new(Pod {
            name: name.to_owned(),
            network,
            status,
            labels: Mutex::new(manifests.stateful_set.spec.template.metadata.labels.clone()),
            manifests,
            deleted: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            containers: Mutex::default(),
        });
        let labels = pod.labels.lock().expect("labels").clone();
        let caller = Caller::Pod { namespace: NAMESPACE.to_owned(), labels };
        policies::make_known(shared, Known { addresses: pod.network.addresses.clone(), caller }, Some(&pod))?;
        let (life, shared) = (pod.clone(), shared.clone());
        std::thread::spawn(move || {
            let directory = life.directory(&shared);
            if let Err(error) = life.live(&shared, &directory, &claims) {
                shared.event(format!("{}: the harness failed: {error:#}", life.name));
            }
            life.containers.lock().expect("containers").clear();
            volumes::remove_of_pod(&life, &shared.network, &directory.join("volumes"));
            life.gone.store(true, Ordering::Release);
        });
        Ok(pod)
    }

    pub fn is_ready(&self) -> bool {
        self.status.lock().expect("status").ready
    }

    pub fn has_labels(&self, selector: &BTreeMap<String, String>) -> bool {
        selects(selector, &self.labels.lock().expect("labels"))
    }

    pub fn spec(&self) -> &PodSpec {
        &self.manifests.stateful_set.spec.template.spec
    }

    /// The directory of the pod's own files.
    pub fn directory(&self, shared: &Shared) -> PathBuf {
        let uid = self.status.lock().expect("status").uid;
        shared.directory.join("pods").join(format!("{}-{uid}", self.name))
    }

    /// A running container.
    pub fn container(&self, name: &str) -> Result<Arc<Running>> {
        let containers = self.containers.lock().expect("containers");
        containers.get(name).cloned().with_context(|| format!("{}: container {name} does not run", self.name))
    }

    fn live(self: &Arc<Pod>, shared: &Arc<Shared>, directory: &Path, claims: &BTreeMap<String, String>) -> Result<()> {
        let spec = self.spec();
        let volumes_directory = directory.join("volumes");
        std::fs::create_dir_all(&volumes_directory)?;
        volumes::provide_for_pod(self, shared, &volumes_directory)?;
        let mut places = BTreeMap::new();
        for (volume, claim) in claims {
            let place = shared.claims.provide(claim, &spec.security_context, &shared.network)?;
            places.insert(volume.clone(), (place, shared.claims.path(claim, &shared.network)));
        }
        let logs = shared.directory.join("logs").join(&self.name);
        std::fs::create_dir_all(&logs)?;
        self.write_files(shared, directory)?;
        let volume = |name: &str| -> Result<PathBuf> {
            Ok(places.get(name).map_or_else(|| volumes_directory.join(name), |(inside, _)| inside.clone()))
        };
        let world = World {
            pod: &self.name,
            annotations: &self.manifests.stateful_set.spec.template.metadata.annotations,
            images: &shared.images,
            network: &self.network,
            cluster: shared.network.pid(),
            user: &spec.security_context,
            files: directory.join("files"),
            limits: &shared.surroundings.limits,
            disk: &|| shared.claims.disk_limits(&shared.network),
            logs,
            volume: &volume,
            is_read_only: &|name| {
                let found = spec.volumes.iter().find(|volume| volume.name == name);
                found.is_some_and(|volume| {
                    volume.config_map.is_some() || volume.secret.is_some() || volume.image.is_some()
                })
            },
        };
        let sub_paths = |container: &Container| -> Result<()> {
            for mount in &container.volume_mounts {
                if let Some(sub_path) = &mount.sub_path {
                    let own = || volumes::seen_inside(&shared.network, &volumes_directory.join(&mount.name));
                    let seen = places.get(&mount.name).map_or_else(own, |(_, seen)| seen.clone());
                    volumes::provide_sub_path(&seen, sub_path, &spec.security_context)?;
                }
            }
            Ok(())
        };
        let look = |keeper: &mut Keeper<'_>| -> Result<()> {
            sub_paths(keeper.container)?;
            keeper.look(self, shared, &world)
        };
        let mut sidecars: Vec<Keeper<'_>> = Vec::new();
        for container in &spec.init_containers {
            let mut keeper = Keeper::new(container, container.is_sidecar());
            while !self.is_deleted() && !keeper.is_passed() {
                look(&mut keeper)?;
                sidecars.iter_mut().try_for_each(look)?;
                std::thread::sleep(PERIOD);
            }
            if container.is_sidecar() {
                sidecars.push(keeper);
            }
        }
        self.status.lock().expect("status").initialised = !self.is_deleted();
        let mut keepers: Vec<Keeper<'_>> =
            spec.containers.iter().map(|container| Keeper::new(container, true)).chain(sidecars).collect();
        while !self.is_deleted() {
            keepers.iter_mut().try_for_each(look)?;
            self.refresh(&keepers);
            std::thread::sleep(PERIOD);
        }
        keepers.iter_mut().for_each(|keeper| keeper.prober = None);
        self.terminate(shared, spec)
    }

    /// The files that kubelet writes for each pod, and those of a condition.
    fn write_files(&self, shared: &Shared, directory: &Path) -> Result<()> {
        let files = directory.join("files");
        std::fs::create_dir_all(&files)?;
        let fully_qualified = shared.fully_qualified(&self.name);
        let mut hosts = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n".to_owned();
        for address in &self.network.addresses {
            hosts += &format!("{address}\t{fully_qualified}\t{}\n", self.name);
        }
        std::fs::write(files.join("hosts"), hosts)?;
        let resolv_conf = {
            let Surroundings { domain, resolver_options, .. } = &shared.surroundings;
            dns::resolv_conf(shared.network.bridge(), domain, resolver_options)
        };
        std::fs::write(files.join("resolv.conf"), resolv_conf)?;
        for (name, text) in &shared.surroundings.etc {
            std::fs::write(files.join(name), text)?;
        }
        Ok(())
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

    /// Ends the containers first, then the sidecars one by one from the last; all within the grace period.
    fn terminate(&self, shared: &Shared, spec: &PodSpec) -> Result<()> {
        self.status.lock().expect("status").ready = false;
        let mut running = std::mem::take(&mut *self.containers.lock().expect("containers"));
        let deadline = Instant::now() + Duration::from_secs(spec.termination_grace_period_seconds);
        let (sidecars, others): (Vec<_>, Vec<_>) =
            spec.init_containers.iter().partition(|container| container.is_sidecar());
        let together: Vec<&Container> = spec.containers.iter().chain(others).collect();
        let steps = std::iter::once(together).chain(sidecars.into_iter().rev().map(|sidecar| vec![sidecar]));
        for step in steps {
            // A container may have been starting when the others were killed: dropping it kills it.
            if shared.is_over() {
                break;
            }
            let ending = step.into_iter().filter_map(|container| Some((container, running.remove(&container.name)?)));
            self.end(ending.collect(), shared, deadline)?;
        }
        Ok(())
    }

    /// For each of them: its hook before the stop, SIGTERM, the grace period, SIGKILL.
    fn end(&self, containers: Vec<(&Container, Arc<Running>)>, shared: &Shared, deadline: Instant) -> Result<()> {
        let started = Instant::now();
        std::thread::scope(|scope| {
            for (container, running) in &containers {
                scope.spawn(|| {
                    if let Some(hook) = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref()) {
                        let output = running.exec(&hook.exec.command, deadline - Instant::now());
                        let end = match output {
                            Ok(output) => format!("ended with {}", output.status.code().unwrap_or(-1)),
                            Err(error) => format!("failed: {error:#}"),
                        };
                        shared.event(format!("{}: the preStop hook of {} {end}", self.name, container.name));
                    }
                    running.signal(Signal::TERM);
                });
            }
        });
        let mut waiting = containers;
        while !waiting.is_empty() && Instant::now() < deadline && !shared.is_over() {
            let mut still = Vec::new();
            for (container, running) in waiting {
                match running.ended()? {
                    Some(end) => shared.event(format!(
                        "{}: {} ended with {} after {:.1} s",
                        self.name,
                        container.name,
                        end.exit_code,
                        started.elapsed().as_secs_f64()
                    )),
                    None => still.push((container, running)),
                }
            }
            waiting = still;
            std::thread::sleep(PERIOD);
        }
        for (container, _) in &waiting {
            let name = &container.name;
            shared.event(format!("{}: {name} did not end within its grace period and is killed", self.name));
        }
        Ok(())
    }
}

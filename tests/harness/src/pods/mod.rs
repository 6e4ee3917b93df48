//! Pods without a cluster: the shipped manifests on one machine, each pod's containers as isolated processes, with
//! Kubernetes' rules.
//!
//! What differs from Kubernetes: a failed container starts again after half a second instead of ten, and a failed
//! liveness probe kills it at once. Probes run ten times as often. Containers see their limits, but only conditions
//! enforce them; requests are not enforced. An empty volume at its limit is full, while kubelet would evict the pod. A
//! changed Secret takes effect at once, and a changed network policy with the next pod. [`Cluster::change`] accepts
//! changes that a StatefulSet refuses. All pods are on one node and one network. Images are made of Debian packages
//! (`images.rs`).
//!
//! Every part of a cluster dies with the test process, at any end: it lives in namespaces that a pipe from the test
//! holds. Only a control group that enforces a limit has a name that outlives it. The next run removes an empty group
//! that a killed test left.

mod changes;
pub mod conditions;
pub mod container;
mod controller;
pub mod dns;
pub mod groups;
mod guests;
mod images;
mod keeper;
pub mod kustomize;
pub mod manifest;
pub mod network;
pub mod overdue;
pub mod pod;
pub mod policies;
pub mod probes;
mod said;
pub mod servers;
mod shared;
mod spawner;
mod volumes;
mod work_directory;

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use crate::program;
use conditions::{Condition, Surroundings};
use controller::Controller;
use images::Images;
use manifest::Manifests;
use network::Network;
use pod::{Pod, PodStatus};
pub use shared::{Pods, Shared};
use volumes::Claims;
pub use work_directory::{work_directory, work_directory_on_disk};

/// The Secret of the shipped component.
pub const PASSWORDS: &str = "mysql-passwords";

/// The value in the images.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Long enough for a slow machine. In a good run every wait is far shorter.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The client's time for all its statements, longer than any scenario needs.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);

/// A StatefulSet that runs on this machine.
pub struct Cluster {
    pub shared: Arc<Shared>,
    controller: Controller,
}

impl Cluster {
    /// Applies the usual manifests of the tested server, changed by `change`. The images hold the program under test. A
    /// listener receives all events.
    pub fn start(listener: Option<Sender<String>>, change: impl FnOnce(&mut Manifests)) -> Result<Cluster> {
        let mut manifests = servers::manifests(servers::tested().overlay, &[])?;
        change(&mut manifests);
        Cluster::apply(listener, manifests)
    }

    /// Applies any manifests, under the conditions of this run.
    pub fn apply(listener: Option<Sender<String>>, manifests: Manifests) -> Result<Cluster> {
        Cluster::apply_under(conditions::of_this_run(), listener, manifests)
    }

    /// The same under other conditions.
    pub fn apply_under(
        conditions: &[&dyn Condition],
        listener: Option<Sender<String>>,
        mut manifests: Manifests,
    ) -> Result<Cluster> {
        conditions.iter().for_each(|condition| condition.change_manifests(&mut manifests));
        let surroundings = Surroundings::under(conditions);
        let secrets = std::mem::take(&mut manifests.secrets);
        let passwords = secrets.get(PASSWORDS);
        let root_password = passwords.and_then(|keys| keys.get("root")).cloned().unwrap_or_default();
        let directory = if surroundings.on_disk { work_directory_on_disk()? } else { work_directory()? };
        let shared = Arc::new(Shared {
            images: Images::lay_out(&directory.join("images"), Path::new(program()))?,
            network: Network::new(surroundings.families)?,
            claims: Claims::new(directory.join("claims"), surroundings.storage.clone())?,
            manifests: RwLock::new(Arc::new(manifests)),
            directory,
            pods: Mutex::default(),
            known: Mutex::default(),
            secrets: Mutex::new(secrets),
            events: Mutex::default(),
            unhealthy: Mutex::default(),
            listener: Mutex::new(listener),
            root_password,
            resolver: Mutex::new(surroundings.resolver),
            surroundings,
            ended: AtomicBool::new(false),
            started: Instant::now(),
            numbers: AtomicU64::new(0),
        });
        overdue::watch(&shared);
        dns::start(&shared)?;
        let controller = Controller::start(&shared);
        Ok(Cluster { shared, controller })
    }

    /// Applies other manifests of the same set. Its pods are replaced one by one, from the last to the first.
    pub fn change(&self, manifests: Manifests) {
        self.scale(manifests.stateful_set.spec.replicas);
        *self.shared.manifests.write().expect("manifests") = Arc::new(manifests);
    }

    /// The messages of failed probes, each once.
    pub fn unhealthy(&self) -> Vec<String> {
        self.shared.unhealthy.lock().expect("unhealthy").clone()
    }

    /// Labels all present pods.
    pub fn label_pods(&self, name: &str, value: &str) {
        for pod in self.shared.pods.lock().expect("pods").there.values() {
            pod.labels.lock().expect("labels").insert(name.to_owned(), value.to_owned());
        }
    }

    /// Waits until exactly this many pods are present, up to date and ready.
    pub fn wait_rolled_out(&self, count: usize) -> Result<()> {
        self.wait_for(&format!("{count} pods to be replaced"), PATIENCE, || {
            let manifests = self.shared.manifests();
            let pods = self.shared.pods.lock().expect("pods");
            let of_now = pods.there.values().filter(|pod| Arc::ptr_eq(&pod.manifests, &manifests)).count();
            drop(pods);
            Ok(of_now == count && self.ready_pods().len() == count)
        })
    }

    /// Changes a key of a Secret. Its mounts show it at once, where kubelet takes up to a minute.
    pub fn set_secret(&self, name: &str, key: &str, value: &str) -> Result<()> {
        let mut secrets = self.shared.secrets.lock().expect("secrets");
        secrets.entry(name.to_owned()).or_default().insert(key.to_owned(), value.to_owned());
        let pods = self.shared.pods.lock().expect("pods");
        pods.there.values().try_for_each(|pod| volumes::renew_secret(&self.shared, pod, name, key, value))
    }

    /// Sets the behaviour of the cluster's name server from now on.
    pub fn set_resolver(&self, mode: dns::Mode) {
        *self.shared.resolver.lock().expect("resolver") = mode;
    }

    /// Sets the number of pods.
    pub fn scale(&self, replicas: u32) {
        self.controller.scale(replicas);
    }

    /// Deletes a pod; the set makes a new one with the same volume.
    pub fn delete_pod(&self, name: &str) -> Result<()> {
        let pod = self.find(name)?;
        self.shared.event(format!("{name}: deleted"));
        pod.deleted.store(true, Ordering::Release);
        Ok(())
    }

    /// Deletes a pod and its volume; the set makes a new one with an empty volume.
    pub fn delete_volume(&self, name: &str) -> Result<()> {
        self.controller.hold(true);
        self.delete_pod(name)?;
        let gone = self.wait_for(&format!("{name} to be gone"), PATIENCE, || Ok(self.find(name).is_err()));
        let deleted = gone.and_then(|()| self.shared.claims.delete(&self.claim_of(name), &self.shared.network));
        self.shared.event(format!("{name}: its volume is deleted"));
        self.controller.hold(false);
        deleted
    }

    /// Deletes the volume of an absent pod.
    pub fn delete_unused_volume(&self, pod: &str) -> Result<()> {
        ensure!(self.find(pod).is_err(), "{pod} is there and uses its volume");
        self.shared.claims.delete(&self.claim_of(pod), &self.shared.network)
    }

    /// A new volume of this pod will hold no more than `bytes`.
    pub fn limit_volume(&self, pod: &str, bytes: u64) {
        self.shared.claims.limit(&self.claim_of(pod), bytes);
    }

    /// Mends the fault of a pod's volume.
    pub fn mend_volume(&self, pod: &str) -> Result<()> {
        self.shared.event(format!("{pod}: its volume is mended"));
        self.shared.claims.mend(&self.claim_of(pod), &self.shared.network)
    }

    /// The path of a pod's volume.
    pub fn volume(&self, pod: &str) -> PathBuf {
        self.shared.claims.path(&self.claim_of(pod), &self.shared.network)
    }

    fn claim_of(&self, pod: &str) -> String {
        format!("data-{pod}")
    }

    fn find(&self, name: &str) -> Result<Arc<Pod>> {
        let pods = self.shared.pods.lock().expect("pods");
        pods.there.values().find(|pod| pod.name == name).cloned().with_context(|| format!("there is no pod {name}"))
    }

    /// The known state of a pod.
    pub fn status(&self, name: &str) -> Result<PodStatus> {
        Ok(self.find(name)?.status.lock().expect("status").clone())
    }

    /// A pod's address in the cluster's network.
    pub fn address(&self, name: &str) -> Result<IpAddr> {
        Ok(self.find(name)?.network.address())
    }

    /// The host's process id of a container's first process.
    pub fn pid(&self, pod: &str, container: &str) -> Result<u32> {
        Ok(self.find(pod)?.container(container)?.pid)
    }

    /// Sends a signal to a container's first process.
    pub fn signal(&self, pod: &str, container: &str, signal: Signal) -> Result<()> {
        self.find(pod)?.container(container)?.signal(signal);
        Ok(())
    }

    /// Runs a command in a container.
    pub fn exec(&self, pod: &str, container: &str, arguments: &[&str]) -> Result<Output> {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        self.find(pod)?.container(container)?.exec(&arguments, PATIENCE)
    }

    /// The whole output of a container, over all its starts and all pods of the name.
    pub fn logs(&self, pod: &str, container: &str) -> String {
        self.shared.logs(pod, container)
    }

    /// Cuts a pod's network, or mends it.
    pub fn set_network(&self, pod: &str, up: bool) -> Result<()> {
        let port = self.find(pod)?.network.port.clone();
        spawner::run(self.shared.network.command("ip").args(["link", "set", &port, if up { "up" } else { "down" }]))?;
        Ok(())
    }

    /// A command in the cluster's network.
    pub fn command(&self, program: &str) -> Command {
        self.shared.network.command(program)
    }

    /// Connects to a port of a pod.
    pub fn connect(&self, pod: &str, port: u16) -> Result<TcpStream> {
        self.shared.network.connect(SocketAddr::new(self.address(pod)?, port), Duration::from_secs(5))
    }

    /// Asks a pod's HTTP server.
    pub fn http_get(&self, pod: &str, port: u16, path: &str) -> Result<(u16, String)> {
        let address = SocketAddr::new(self.address(pod)?, port);
        probes::http_get(&self.shared, address, path, Duration::from_secs(5))
    }

    /// The client as root, connected to a pod's server over TCP; its input brings the statements.
    pub fn client_of_root(&self, pod: &str) -> Result<Command> {
        self.client(self.command("env"), pod, "root", &self.shared.root_password)
    }

    fn client(&self, mut command: Command, pod: &str, user: &str, password: &str) -> Result<Command> {
        command.args([
            "mariadb",
            "--no-defaults",
            &format!("--connect-timeout={}", 5 * self.shared.surroundings.patience),
            "-h",
            &self.address(pod)?.to_string(),
            "-u",
            user,
        ]);
        let first = &self.shared.surroundings.client;
        if !first.is_empty() {
            command.arg(format!("--init-command={first}"));
        }
        command.env("MYSQL_PWD", password);
        Ok(command)
    }

    /// Runs SQL on a pod's server as root over TCP; rows of columns.
    pub fn sql(&self, pod: &str, statements: &str) -> Result<Vec<Vec<String>>> {
        self.sql_as(pod, "root", &self.shared.root_password, statements)
    }

    /// The same as another user.
    pub fn sql_as(&self, pod: &str, user: &str, password: &str, statements: &str) -> Result<Vec<Vec<String>>> {
        let mut limited = self.command("timeout");
        limited.args(["--signal=KILL", &ANSWER_TIMEOUT.as_secs().to_string()]);
        let mut command = self.client(limited, pod, user, password)?;
        command.args(["-N", "-B", "-e", statements]);
        let output = command.output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.signal().is_none(),
            "{pod}: {statements}: no answer after {} s",
            ANSWER_TIMEOUT.as_secs()
        );
        ensure!(output.status.success(), "{pod}: {statements}: {}", error.trim());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
    }

    /// One value of a pod's server.
    pub fn value(&self, pod: &str, query: &str) -> Result<String> {
        let rows = self.sql(pod, query)?;
        rows.into_iter()
            .next()
            .and_then(|row| row.into_iter().next())
            .with_context(|| format!("{pod}: {query}: no row"))
    }

    /// Ready pods.
    pub fn ready_pods(&self) -> Vec<String> {
        let pods = self.shared.pods.lock().expect("pods");
        let ready = pods.there.values().filter(|pod| pod.status.lock().expect("status").ready);
        ready.map(|pod| pod.name.clone()).collect()
    }

    /// Waits until exactly this many pods are present and all of them are ready.
    pub fn wait_ready(&self, count: usize) -> Result<()> {
        self.wait_for(&format!("{count} pods to be ready"), PATIENCE, || {
            Ok(self.ready_pods().len() == count && self.shared.pods.lock().expect("pods").there.len() == count)
        })
    }

    /// Waits until the wished number of pods is present and ready.
    pub fn wait_settled(&self) -> Result<()> {
        self.wait_ready(self.controller.replicas() as usize)
    }

    /// Waits for a condition; the error describes the whole cluster.
    pub fn wait_for(&self, what: &str, limit: Duration, condition: impl Fn() -> Result<bool>) -> Result<()> {
        let limit = limit * self.shared.surroundings.patience;
        let deadline = Instant::now() + limit;
        let mut last = String::new();
        while Instant::now() < deadline {
            match condition() {
                Ok(true) => return Ok(()),
                Ok(false) => last.clear(),
                Err(error) => last = format!(" ({error:#})"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("waited {} seconds for {what}{last}\n{}", limit.as_secs(), self.describe())
    }

    /// A full description, for a failed test.
    pub fn describe(&self) -> String {
        self.shared.describe()
    }

    /// The events so far, with seconds since the start.
    pub fn events(&self) -> Vec<String> {
        self.shared.events()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        self.controller.end();
        if std::env::var_os("MYSQLSET_KEEP").is_some() {
            eprintln!("kept: {}", self.shared.directory.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.shared.directory);
        }
    }
}

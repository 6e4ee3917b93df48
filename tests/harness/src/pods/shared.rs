//! The state that the threads of one cluster share: the controller, the pods, the name server and the test.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Instant;

use super::conditions::Surroundings;
use super::dns;
use super::images::Images;
use super::manifest::Manifests;
use super::network::Network;
use super::pod::Pod;
use super::policies::Known;
use super::volumes::Claims;

/// Under one lock: the controller and the name server need both parts, and two locks led to a deadlock.
#[derive(Default)]
pub struct Pods {
    /// By ordinal.
    pub there: BTreeMap<u32, Arc<Pod>>,
    /// The last addresses of former pods, keyed by pod, and the time of their end.
    pub(super) former: BTreeMap<String, (Vec<IpAddr>, Instant)>,
}

/// The state that the parts of one cluster share.
pub struct Shared {
    pub(super) manifests: RwLock<Arc<Manifests>>,
    pub directory: PathBuf,
    pub images: Images,
    pub network: Network,
    /// The surroundings under the conditions of this run.
    pub surroundings: Surroundings,
    pub claims: Claims,
    pub pods: Mutex<Pods>,
    /// The callers that policies allow or refuse.
    pub(super) known: Mutex<Vec<Known>>,
    /// The keys of each Secret.
    pub secrets: Mutex<BTreeMap<String, BTreeMap<String, String>>>,
    pub(super) events: Mutex<Vec<String>>,
    /// Each kind of failed probe, once.
    pub(super) unhealthy: Mutex<Vec<String>>,
    pub(super) listener: Mutex<Option<Sender<String>>>,
    /// The initial value in the set's Secret.
    pub(super) root_password: String,
    pub(super) resolver: Mutex<dns::Mode>,
    pub(super) ended: AtomicBool,
    pub(super) started: Instant,
    pub(super) numbers: AtomicU64,
}

impl Shared {
    /// The manifests that were applied last.
    pub fn manifests(&self) -> Arc<Manifests> {
        self.manifests.read().expect("manifests").clone()
    }

    /// A pod's own name with the cluster's domain.
    pub fn fully_qualified(&self, pod: &str) -> String {
        let service = &self.manifests().stateful_set.spec.service_name;
        format!("{pod}.{service}.default.svc.{}", self.surroundings.domain)
    }

    /// A new number, never used before.
    pub fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Notes an event.
    pub fn event(&self, text: String) {
        let line = format!("{:7.2} {text}", self.started.elapsed().as_secs_f64());
        if let Some(listener) = self.listener.lock().expect("listener").as_ref() {
            let _ = listener.send(text);
        }
        self.events.lock().expect("events").push(line);
    }

    pub(super) fn events(&self) -> Vec<String> {
        self.events.lock().expect("events").clone()
    }

    pub(super) fn logs(&self, pod: &str, container: &str) -> String {
        let path = self.directory.join("logs").join(pod).join(format!("{container}.log"));
        String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
    }

    /// A full description, for a failed test.
    pub fn describe(&self) -> String {
        let mut text = String::from("--- events\n");
        text += &self.events().join("\n");
        for pod in self.pods.lock().expect("pods").there.values() {
            let _ = writeln!(text, "\n--- {}: {:?}", pod.name, pod.status.lock().expect("status"));
            let names = pod.status.lock().expect("status").containers.keys().cloned().collect::<Vec<_>>();
            for name in names {
                let logs = self.logs(&pod.name, &name);
                let lines: Vec<&str> = logs.lines().collect();
                let _ =
                    writeln!(text, "--- {} {name}\n{}", pod.name, lines[lines.len().saturating_sub(25)..].join("\n"));
            }
        }
        text
    }

    /// Whether the test has ended, so that grace periods are skipped.
    pub fn is_over(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Stops the listener's events: the rest is the cluster's own end.
    pub(super) fn stop_listening(&self) {
        *self.listener.lock().expect("listener") = None;
    }
}

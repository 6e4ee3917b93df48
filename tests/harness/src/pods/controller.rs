//! The StatefulSet's controller makes pods in order, the next only after the one before is ready, unless the policy is
//! Parallel. The highest goes first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::manifest::{Manifests, PodManagementPolicy};
use super::pod::Pod;
use super::{Pods, Shared};

const PERIOD: Duration = Duration::from_millis(15);

pub struct Controller {
    wish: Arc<Wish>,
    thread: Option<JoinHandle<()>>,
}

struct Wish {
    replicas: AtomicU32,
    /// The controller makes no pods for now.
    held: AtomicBool,
    ended: AtomicBool,
}

impl Controller {
    pub fn start(shared: &Arc<Shared>) -> Controller {
        let wish = Arc::new(Wish {
            replicas: AtomicU32::new(shared.manifests().stateful_set.spec.replicas),
            held: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let (working, shared) = (wish.clone(), shared.clone());
        let thread = std::thread::spawn(move || {
            while !working.ended.load(Ordering::Acquire) {
                if let Err(error) = step(&shared, &working) {
                    shared.event(format!("the controller failed: {error:#}"));
                }
                std::thread::sleep(PERIOD);
            }
            end_all(&shared);
        });
        Controller { wish, thread: Some(thread) }
    }

    pub fn scale(&self, replicas: u32) {
        self.wish.replicas.store(replicas, Ordering::Release);
    }

    pub fn replicas(&self) -> u32 {
        self.wish.replicas.load(Ordering::Acquire)
    }

    pub fn hold(&self, held: bool) {
        self.wish.held.store(held, Ordering::Release);
    }

    /// Ends all pods at once and waits for their threads.
    pub fn end(&mut self) {
        self.wish.ended.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn step(shared: &Arc<Shared>, wish: &Wish) -> Result<()> {
    forget_the_gone(shared);
    if wish.held.load(Ordering::Acquire) {
        return Ok(());
    }
    let replicas = wish.replicas.load(Ordering::Acquire);
    let manifests = shared.manifests();
    let selector = &manifests.stateful_set.spec.selector.match_labels;
    if let Some(stranger) = stranger(shared, selector) {
        let said = format!("{stranger} is there and is not the set's: it lacks labels of the selector");
        if !shared.events.lock().expect("events").iter().any(|line| line.ends_with(&said)) {
            shared.event(said);
        }
        return Ok(());
    }
    let in_order = manifests.stateful_set.spec.pod_management_policy == PodManagementPolicy::OrderedReady;
    for ordinal in 0..replicas {
        let pod = shared.pods.lock().expect("pods").there.get(&ordinal).cloned();
        match pod {
            None if in_order => return create(shared, ordinal),
            None => create(shared, ordinal)?,
            Some(pod) if in_order && !pod.is_ready() => return Ok(()),
            Some(_) => {}
        }
    }
    if replace_one(shared, &manifests, replicas) {
        return Ok(());
    }
    let highest =
        shared.pods.lock().expect("pods").there.iter().next_back().map(|(ordinal, pod)| (*ordinal, pod.clone()));
    if let Some((ordinal, pod)) = highest
        && ordinal >= replicas
        && !pod.deleted.swap(true, Ordering::AcqRel)
    {
        shared.event(format!("{}: deleted, the set has {replicas} pods now", pod.name));
    }
    Ok(())
}

/// A foreign pod with a name of the set's, which the set does not adopt. It blocks the set's own pod.
fn stranger(shared: &Shared, selector: &BTreeMap<String, String>) -> Option<String> {
    let pods = shared.pods.lock().expect("pods");
    pods.there.values().find(|pod| !pod.has_labels(selector)).map(|pod| pod.name.clone())
}

/// A rolling update: the last outdated pod goes, once all behind it are ready. Returns whether some pod is still
/// outdated or awaited.
fn replace_one(shared: &Shared, manifests: &Arc<Manifests>, replicas: u32) -> bool {
    let pods = shared.pods.lock().expect("pods");
    let is_old = |pod: &&Arc<Pod>| !Arc::ptr_eq(&pod.manifests, manifests);
    let from_last = || pods.there.range(..replicas).rev().map(|(_, pod)| pod);
    let Some(old) = from_last().find(is_old) else { return false };
    let behind_are_ready = from_last().take_while(|pod| !is_old(pod)).all(|pod| pod.is_ready());
    if behind_are_ready && !old.deleted.swap(true, Ordering::AcqRel) {
        shared.event(format!("{}: deleted, to be replaced", old.name));
    }
    true
}

fn create(shared: &Arc<Shared>, ordinal: u32) -> Result<()> {
    let manifests = shared.manifests();
    let set = &manifests.stateful_set;
    let name = format!("{}-{ordinal}", set.metadata.name);
    let templates = &set.spec.volume_claim_templates;
    let claims: BTreeMap<String, String> = templates
        .iter()
        .map(|claim| (claim.metadata.name.clone(), format!("{}-{name}", claim.metadata.name)))
        .collect();
    let pod = Pod::start(shared, &name, claims)?;
    shared.event(format!("{name}: created"));
    shared.pods.lock().expect("pods").there.insert(ordinal, pod);
    Ok(())
}

fn forget_the_gone(shared: &Shared) {
    let mut pods = shared.pods.lock().expect("pods");
    let Pods { there, former } = &mut *pods;
    there.retain(|_, pod| {
        let is_gone = pod.gone.load(Ordering::Acquire);
        if is_gone {
            former.insert(pod.name.clone(), (pod.network.addresses.clone(), Instant::now()));
        }
        !is_gone
    });
}

/// The test is over: grace periods are skipped.
fn end_all(shared: &Shared) {
    let pods: Vec<Arc<Pod>> = shared.pods.lock().expect("pods").there.values().cloned().collect();
    shared.stop_listening();
    for pod in &pods {
        pod.deleted.store(true, Ordering::Release);
        let names: Vec<String> = pod.status.lock().expect("status").containers.keys().cloned().collect();
        for name in names {
            if let Ok(container) = pod.container(&name) {
                container.signal(rustix::process::Signal::KILL);
            }
        }
    }
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while std::time::Instant::now() < deadline && pods.iter().any(|pod| !pod.gone.load(Ordering::Acquire)) {
        std::thread::sleep(PERIOD);
    }
    shared.pods.lock().expect("pods").there.clear();
}

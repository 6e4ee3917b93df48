//! Network policies: their allowed connections to a pod, and the packet filter in each pod's network that enforces
//! them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::Shared;
use super::manifest::{Ignored, Manifests, Metadata};
use super::pod::Pod;

pub type Labels = BTreeMap<String, String>;

/// The namespace of the set.
pub const NAMESPACE: &str = "default";

/// Every namespace has its name as this label.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NetworkPolicy {
    #[serde(rename = "apiVersion")]
    _api_version: Ignored,
    #[serde(rename = "kind")]
    _kind: Ignored,
    #[serde(rename = "metadata")]
    _metadata: Metadata,
    spec: Spec,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Spec {
    pod_selector: Selector,
    #[serde(rename = "policyTypes")]
    _policy_types: [Direction; 1],
    #[serde(default)]
    ingress: Vec<Rule>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum Direction {
    Ingress,
}

/// Both lists are present: a missing one would mean every caller, or every port.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    from: Vec<Peer>,
    ports: Vec<Port>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Peer {
    pod_selector: Option<Selector>,
    namespace_selector: Option<Selector>,
}

/// A selector without labels selects everything.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Selector {
    #[serde(default)]
    match_labels: Labels,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Port {
    port: u16,
}

/// The origin of a connection.
#[derive(Clone, Debug)]
pub enum Caller {
    /// The node of the pod, with its kubelet: every policy lets it in.
    Node,
    Pod {
        namespace: String,
        labels: Labels,
    },
    /// A caller outside all pods.
    Outside,
}

impl Selector {
    fn selects(&self, labels: &Labels) -> bool {
        self.match_labels.iter().all(|(name, value)| labels.get(name) == Some(value))
    }
}

impl Peer {
    fn is(&self, namespace: &str, labels: &Labels) -> bool {
        let of_namespace = Labels::from([(NAME_LABEL.to_owned(), namespace.to_owned())]);
        let is_namespace = match &self.namespace_selector {
            Some(selector) => selector.selects(&of_namespace),
            None => namespace == NAMESPACE,
        };
        is_namespace && self.pod_selector.as_ref().is_none_or(|selector| selector.selects(labels))
    }
}

/// Whether the policies allow a connection to a pod with these labels.
pub fn allow(policies: &[NetworkPolicy], pod: &Labels, caller: &Caller, port: u16) -> bool {
    let about: Vec<&Spec> =
        policies.iter().map(|policy| &policy.spec).filter(|spec| spec.pod_selector.selects(pod)).collect();
    if about.is_empty() {
        return true;
    }
    let (namespace, labels) = match caller {
        Caller::Node => return true,
        Caller::Outside => return false,
        Caller::Pod { namespace, labels } => (namespace, labels),
    };
    about.iter().flat_map(|spec| &spec.ingress).any(|rule| {
        rule.ports.iter().any(|found| found.port == port) && rule.from.iter().any(|peer| peer.is(namespace, labels))
    })
}

/// A pod's network, known by its addresses. It stays known after the pod's end.
pub struct Known {
    pub addresses: Vec<IpAddr>,
    pub caller: Caller,
}

/// Adds another pod to every pod's filter, before the pod connects to anything. `made` is a pod of the set that is new
/// to all others.
pub fn make_known(shared: &Shared, known: Known, made: Option<&Arc<Pod>>) -> Result<()> {
    let mut all = shared.known.lock().expect("known pods");
    all.push(known);
    let mut pods: Vec<Arc<Pod>> = shared.pods.lock().expect("pods").there.values().cloned().collect();
    pods.extend(made.cloned());
    pods.iter().try_for_each(|pod| keep(shared, pod, &all))
}

/// Loads the filter of a pod, if there is a policy.
fn keep(shared: &Shared, pod: &Pod, known: &[Known]) -> Result<()> {
    let manifests = shared.manifests();
    if manifests.network_policies.is_empty() {
        return Ok(());
    }
    let labels = pod.labels.lock().expect("labels").clone();
    let families = [("iptables-restore", shared.network.node(true)), ("ip6tables-restore", shared.network.node(false))];
    for (program, node) in families {
        let Some(node) = node else { continue };
        let mut command = pod.network.command(program);
        let mut child = command
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {program}: `make packages` installs it"))?;
        let rules = filter(&manifests, &labels, node, known);
        child.stdin.take().context("its input")?.write_all(rules.as_bytes())?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "{program}: {}\n{rules}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// The input of `iptables-restore`.
fn filter(manifests: &Manifests, pod: &Labels, node: IpAddr, known: &[Known]) -> String {
    let containers = &manifests.stateful_set.spec.template.spec;
    let containers = containers.init_containers.iter().chain(&containers.containers);
    let ports: Vec<u16> = containers.flat_map(|container| &container.ports).map(|port| port.container_port).collect();
    let mut text = "*filter\n:INPUT DROP\n:FORWARD DROP\n:OUTPUT ACCEPT\n-A INPUT -i lo -j ACCEPT\n\
        -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n"
        .to_owned();
    if node.is_ipv6() {
        // Neighbours are found by these.
        text += "-A INPUT -p ipv6-icmp -j ACCEPT\n";
    }
    let _ = writeln!(text, "-A INPUT -s {node} -j ACCEPT");
    for Known { addresses, caller } in known {
        for port in ports.iter().filter(|port| allow(&manifests.network_policies, pod, caller, **port)) {
            for address in addresses.iter().filter(|address| address.is_ipv6() == node.is_ipv6()) {
                let _ = writeln!(text, "-A INPUT -p tcp -s {address} --dport {port} -j ACCEPT");
            }
        }
    }
    text + "COMMIT\n"
}

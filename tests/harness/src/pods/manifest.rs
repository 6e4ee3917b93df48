//! The shipped manifests as kustomize builds them and the harness reads them.
//!
//! Every struct refuses unknown fields, so that each part of a manifest is named here. Members of type [`Ignored`] are
//! useless on a single machine outside Kubernetes.

pub mod volume;

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_yaml_ng::Value;

use super::policies::NetworkPolicy;
use volume::Volume;

/// Known, and meaningless here.
pub type Ignored = Option<Value>;

/// All objects of `kubectl apply -k DIR`.
#[derive(Clone, Debug)]
pub struct Manifests {
    pub stateful_set: StatefulSet,
    pub config_maps: Vec<ConfigMap>,
    pub services: Vec<Service>,
    pub network_policies: Vec<NetworkPolicy>,
    /// Secrets exist only if a test adds them.
    pub secrets: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Metadata {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ConfigMap {
    #[serde(rename = "apiVersion")]
    _api_version: Ignored,
    #[serde(rename = "kind")]
    _kind: Ignored,
    pub metadata: Metadata,
    pub data: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Service {
    #[serde(rename = "apiVersion")]
    _api_version: Ignored,
    #[serde(rename = "kind")]
    _kind: Ignored,
    pub metadata: Metadata,
    pub spec: ServiceSpec,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ServiceSpec {
    #[serde(rename = "clusterIP")]
    pub cluster_ip: Option<String>,
    #[serde(default)]
    pub publish_not_ready_addresses: bool,
    /// Here clients connect to the pods themselves; tests/manifests compares them with the containers' ports.
    #[serde(rename = "ports")]
    _ports: Ignored,
    pub selector: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StatefulSet {
    #[serde(rename = "apiVersion")]
    _api_version: Ignored,
    #[serde(rename = "kind")]
    _kind: Ignored,
    pub metadata: Metadata,
    pub spec: StatefulSetSpec,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StatefulSetSpec {
    pub selector: Selector,
    pub service_name: String,
    pub replicas: u32,
    #[serde(default)]
    pub pod_management_policy: PodManagementPolicy,
    pub template: Template,
    pub volume_claim_templates: Vec<ClaimTemplate>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Selector {
    pub match_labels: BTreeMap<String, String>,
}

/// Whether the labels include all of a selector's.
pub fn selects(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    !selector.is_empty() && selector.iter().all(|(name, value)| labels.get(name) == Some(value))
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub enum PodManagementPolicy {
    #[default]
    OrderedReady,
    Parallel,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Template {
    pub metadata: Metadata,
    pub spec: PodSpec,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PodSpec {
    pub security_context: SecurityContext,
    pub termination_grace_period_seconds: u64,
    /// Here the node gives the pod only its hostname.
    #[serde(default)]
    pub host_network: bool,
    #[serde(default)]
    pub init_containers: Vec<Container>,
    pub containers: Vec<Container>,
    pub volumes: Vec<Volume>,
    /// Pods lack a token and the Services' variables here.
    #[serde(rename = "automountServiceAccountToken")]
    _automount_service_account_token: Ignored,
    #[serde(rename = "enableServiceLinks")]
    _enable_service_links: Ignored,
    /// All pods are on one node.
    #[serde(rename = "topologySpreadConstraints")]
    _topology_spread_constraints: Ignored,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SecurityContext {
    pub run_as_user: u32,
    pub run_as_group: u32,
    pub fs_group: u32,
    /// Honoured: the user is another than root.
    #[serde(rename = "runAsNonRoot")]
    _run_as_non_root: Ignored,
    #[serde(rename = "fsGroupChangePolicy")]
    _fs_group_change_policy: Ignored,
    /// System calls are unfiltered here.
    #[serde(rename = "seccompProfile")]
    _seccomp_profile: Ignored,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Container {
    pub name: String,
    pub image: String,
    pub command: Option<Vec<String>>,
    pub args: Option<Vec<String>>,
    #[serde(default)]
    pub env: Vec<EnvVar>,
    #[serde(default)]
    pub ports: Vec<Port>,
    #[serde(default)]
    pub volume_mounts: Vec<VolumeMount>,
    #[serde(default)]
    pub resources: Resources,
    pub lifecycle: Option<Lifecycle>,
    /// Of init containers only: "Always" makes one a sidecar.
    pub restart_policy: Option<String>,
    pub startup_probe: Option<Probe>,
    pub liveness_probe: Option<Probe>,
    pub readiness_probe: Option<Probe>,
    #[serde(default)]
    pub security_context: Confinement,
}

impl Container {
    /// An init container that continues beside the others.
    pub fn is_sidecar(&self) -> bool {
        self.restart_policy.as_deref() == Some("Always")
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Resources {
    /// Requested only.
    pub requests: Requests,
    pub limits: Limits,
}

/// The node's free resources that the container requires.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requests {
    pub cpu: Option<String>,
    pub memory: Option<String>,
}

/// Shown to the container only.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub memory: Option<String>,
}

impl Limits {
    /// In the kernel's form: bytes, or `max`.
    pub fn memory_max(&self) -> Result<String> {
        self.memory.as_deref().map_or(Ok("max".to_owned()), |memory| Ok(bytes(memory)?.to_string()))
    }
}

/// The value of a quantity such as `64Mi`.
pub fn bytes(quantity: &str) -> Result<u64> {
    let units = [("Ki", 10), ("Mi", 20), ("Gi", 30)];
    let said = units.iter().find_map(|(unit, bits)| Some((quantity.strip_suffix(unit)?, *bits)));
    let (number, bits) = said.with_context(|| format!("{quantity}: not in Ki, Mi or Gi"))?;
    Ok(number.parse::<u64>()? << bits)
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Lifecycle {
    pub pre_stop: Option<Hook>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    pub exec: Command,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Confinement {
    /// Where it differs from the pod's.
    pub run_as_user: Option<u32>,
    pub run_as_group: Option<u32>,
    pub read_only_root_filesystem: bool,
    /// Honoured here always.
    #[serde(rename = "allowPrivilegeEscalation")]
    _allow_privilege_escalation: Ignored,
    /// All are dropped here always.
    #[serde(rename = "capabilities")]
    _capabilities: Ignored,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EnvVar {
    pub name: String,
    #[serde(default)]
    pub value: String,
    pub value_from: Option<ValueFrom>,
}

/// The downward API.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ValueFrom {
    pub field_ref: FieldRef,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FieldRef {
    pub field_path: String,
}

impl EnvVar {
    /// Its value in a pod of this name and these annotations.
    pub fn value_in(&self, pod: &str, annotations: &BTreeMap<String, String>) -> Result<String> {
        let Some(source) = &self.value_from else { return Ok(self.value.clone()) };
        let path = source.field_ref.field_path.as_str();
        if path == "metadata.name" {
            return Ok(pod.to_owned());
        }
        let annotation = path.strip_prefix("metadata.annotations['").and_then(|rest| rest.strip_suffix("']"));
        let value = annotation.and_then(|name| annotations.get(name));
        value.cloned().with_context(|| format!("{}: {path} is not known", self.name))
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Port {
    pub name: String,
    pub container_port: u16,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct VolumeMount {
    pub name: String,
    pub mount_path: String,
    pub sub_path: Option<String>,
    #[serde(default)]
    pub read_only: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Probe {
    pub exec: Option<Command>,
    pub http_get: Option<HttpProbe>,
    #[serde(default)]
    pub initial_delay_seconds: u64,
    #[serde(default = "ten")]
    pub period_seconds: u64,
    #[serde(default = "one")]
    pub timeout_seconds: u64,
    #[serde(default = "three")]
    pub failure_threshold: u32,
}

fn one() -> u64 {
    1
}

fn three() -> u32 {
    3
}

fn ten() -> u64 {
    10
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    pub command: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpProbe {
    pub path: String,
    /// A number or a port's name.
    pub port: Value,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimTemplate {
    pub metadata: Metadata,
    /// The requested size is not enforced; tests that need a small volume set its limit.
    #[serde(rename = "spec")]
    _spec: Ignored,
}

impl Manifests {
    /// Reads the output of kustomize.
    pub fn parse(text: &str) -> Result<Manifests> {
        let (mut stateful_set, mut config_maps, mut services) = (None, Vec::new(), Vec::new());
        let mut network_policies = Vec::new();
        for document in serde_yaml_ng::Deserializer::from_str(text) {
            let value = Value::deserialize(document)?;
            let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
            match kind.as_str() {
                "StatefulSet" => stateful_set = Some(parse(value, &kind)?),
                "ConfigMap" => config_maps.push(parse(value, &kind)?),
                "Service" => services.push(parse(value, &kind)?),
                "NetworkPolicy" => network_policies.push(parse(value, &kind)?),
                // Here nothing drains the machine or scrapes metrics.
                "PodDisruptionBudget" | "PodMonitor" | "PrometheusRule" => {}
                other => bail!("the harness does not know the kind {other:?}"),
            }
        }
        let stateful_set: StatefulSet = stateful_set.context("no StatefulSet")?;
        let spec = &stateful_set.spec;
        ensure!(
            selects(&spec.selector.match_labels, &spec.template.metadata.labels),
            "the set doesn't select its pods"
        );
        Ok(Manifests { stateful_set, config_maps, services, network_policies, secrets: BTreeMap::new() })
    }
}

fn parse<T: DeserializeOwned>(value: Value, kind: &str) -> Result<T> {
    serde_yaml_ng::from_value(value).with_context(|| kind.to_owned())
}

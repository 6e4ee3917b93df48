//! Each selector selects pods of its own set only.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use harness::pods::kustomize;
use harness::pods::manifest::{Manifests, selects};
use serde_yaml_ng::Value;

use super::{addable, containers, heeded, objects, pod, read, words};

#[test]
fn every_selector_and_port_is_of_the_sets_pods() -> Result<()> {
    for overlay in kustomize::names("overlays")? {
        let objects = objects(&overlay)?;
        let kind = |kind: &str| objects.iter().filter(move |object| object["kind"] == kind).collect::<Vec<_>>();
        let template = &kind("StatefulSet")[0]["spec"]["template"];
        let selects = |selector: &Value| {
            let Some(wanted) = selector.as_mapping() else { return false };
            !wanted.is_empty()
                && wanted.iter().all(|(name, value)| template["metadata"]["labels"].get(name) == Some(value))
        };
        let list = |value: &Value| value.as_sequence().cloned().unwrap_or_default();
        let containers = [list(&template["spec"]["initContainers"]), list(&template["spec"]["containers"])].concat();
        let ports: Vec<Value> = containers.iter().flat_map(|container| list(&container["ports"])).collect();
        let is_port =
            |wanted: &Value| ports.iter().any(|port| port["containerPort"] == *wanted || port["name"] == *wanted);

        assert_eq!(kind("Service").len(), 2, "{overlay}");
        for service in kind("Service") {
            assert!(selects(&service["spec"]["selector"]), "{overlay}: {service:?}");
            assert!(
                list(&service["spec"]["ports"]).iter().all(|port| is_port(&port["port"])),
                "{overlay}: {service:?}"
            );
        }
        for (name, path) in
            [("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector"), ("PodMonitor", "selector")]
        {
            let [object] = kind(name)[..] else { panic!("{overlay}: {name}") };
            assert!(selects(&object["spec"][path]["matchLabels"]), "{overlay}: {object:?}");
        }
        for constraint in list(&template["spec"]["topologySpreadConstraints"]) {
            assert!(selects(&constraint["labelSelector"]["matchLabels"]), "{overlay}: {constraint:?}");
        }
        let rules = list(&kind("NetworkPolicy")[0]["spec"]["ingress"]);
        let let_in: Vec<Value> = rules.iter().flat_map(|rule| list(&rule["ports"])).collect();
        assert!(let_in.len() == 3 && let_in.iter().all(|port| is_port(&port["port"])), "{overlay}: {let_in:?}");
        for endpoint in list(&kind("PodMonitor")[0]["spec"]["podMetricsEndpoints"]) {
            assert!(is_port(&endpoint["port"]), "{overlay}: {endpoint:?}");
        }
    }
    Ok(())
}

/// The labels by which an object selects pods, anywhere in it. A selector of all pods in a namespace has none.
pub fn selectors(value: &Value) -> Vec<BTreeMap<String, String>> {
    let labels = |value: &Value| serde_yaml_ng::from_value::<BTreeMap<String, String>>(value.clone());
    let mut found = Vec::new();
    for (name, below) in value.as_mapping().into_iter().flatten() {
        match name.as_str() {
            Some("namespaceSelector") => {}
            Some("matchLabels") => found.push(labels(below).expect("labels")),
            Some("selector") if value.get("ports").is_some() => found.push(labels(below).expect("labels")),
            _ => found.extend(selectors(below)),
        }
    }
    found.extend(value.as_sequence().into_iter().flatten().flat_map(selectors));
    found
}

/// A set with every feature, beside others of one namespace.
struct Beside {
    manifests: Manifests,
    objects: Vec<Value>,
}

impl Beside {
    fn build(overlay: &str, lines: &str) -> Result<Beside> {
        let mut added = addable(overlay)?;
        added.retain(|name| ["network-policy", "monitoring"].contains(&name.as_str()));
        let text = kustomize::build_with(overlay, &added.iter().map(String::as_str).collect::<Vec<_>>(), lines)?;
        Ok(Beside { manifests: Manifests::parse(&text)?, objects: read(&text)? })
    }

    fn labels(&self) -> &BTreeMap<String, String> {
        &self.manifests.stateful_set.spec.template.metadata.labels
    }
}

#[test]
fn sets_in_one_namespace_have_names_and_selectors_of_their_own() -> Result<()> {
    for overlay in kustomize::names("overlays")?.iter().filter(|name| !name.ends_with("from-tutorial")) {
        let named = [("", "mysql"), ("nameSuffix: -b", "mysql-b"), ("namePrefix: db-", "db-mysql")];
        let mut sets = Vec::new();
        for (lines, name) in named {
            let set = Beside::build(overlay, lines)?;
            let spec = &set.manifests.stateful_set.spec;
            assert_eq!(set.manifests.stateful_set.metadata.name, name, "{overlay}");
            assert_eq!(spec.service_name, name, "{overlay}: the headless Service");
            let annotations = &spec.template.metadata.annotations;
            for container in containers(pod(&set.manifests)).filter(|container| {
                let words = words(container).unwrap_or_default();
                heeded(&words).contains("MYSQLSET_SERVICE")
            }) {
                let set =
                    container.env.iter().find(|set| set.name == "MYSQLSET_SERVICE").context("MYSQLSET_SERVICE")?;
                assert_eq!(set.value_in("a pod", annotations)?, name, "{overlay}: {}", container.name);
            }
            sets.push(set);
        }
        for set in &sets {
            let selectors: Vec<_> = set.objects.iter().flat_map(|object| selectors(&object["spec"])).collect();
            // StatefulSet, its two constraints, two Services, budget, metrics; the policy's pods, and its cloning
            // peers.
            assert_eq!(selectors.len(), 9, "{overlay}: {selectors:?}");
            for selector in &selectors {
                let selected: Vec<bool> = sets.iter().map(|other| selects(selector, other.labels())).collect();
                let own: Vec<bool> = sets.iter().map(|other| std::ptr::eq(other, set)).collect();
                assert_eq!(selected, own, "{overlay}: {selector:?}");
            }
        }
        let name = |object: &Value| format!("{:?} {:?}", object["kind"], object["metadata"]["name"]);
        let names: Vec<String> = sets.iter().flat_map(|set| set.objects.iter().map(name)).collect();
        let different: BTreeSet<&String> = names.iter().collect();
        assert_eq!(different.len(), names.len(), "{overlay}: {names:?}");
        let alerts = sets.iter().flat_map(|set| &set.objects).filter(|object| object["kind"] == "PrometheusRule");
        let alerts: BTreeSet<String> = alerts.map(|object| format!("{:?}", object["spec"])).collect();
        assert_eq!(alerts.len(), 1, "{overlay}: an alert is about one set");
        assert!(alerts.iter().all(|alerts| !alerts.contains("\\\"mysql")), "{overlay}: an alert names a set");
    }
    Ok(())
}

/// The recipe's patch for passwords.
#[test]
fn a_second_set_reads_the_secret_that_the_guide_gives_it() -> Result<()> {
    let (_, recipe) =
        include_str!("../../docs/guide/second-set.md").split_once("```yaml\npatches:").context("the recipe")?;
    let (patch, _) = recipe.split_once("```").context("its end")?;
    for overlay in kustomize::names("overlays")?.iter().filter(|name| name.ends_with("-secrets")) {
        let text = kustomize::build_with(overlay, &[], &format!("nameSuffix: -b\npatches:{patch}"))?;
        let manifests = Manifests::parse(&text)?;
        let secrets = pod(&manifests).volumes.iter().filter_map(|volume| volume.secret.as_ref());
        let secrets: Vec<&str> = secrets.map(|secret| secret.secret_name.as_str()).collect();
        assert_eq!(secrets, ["mysql-passwords-b"; 3], "{overlay}");
    }
    Ok(())
}

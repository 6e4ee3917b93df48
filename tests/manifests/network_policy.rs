//! Access to a set's pods: a table of callers and ports, decided on the output of kustomize.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use harness::pods::manifest::Manifests;
use harness::pods::policies::{Caller, Labels, allow};

use super::kustomize;

const PORTS: [u16; 3] = [3306, 3307, 8307];

fn labels(set: &str) -> Labels {
    BTreeMap::from(
        [("app", "mysql"), ("app.kubernetes.io/instance", set)].map(|(name, value)| (name.into(), value.into())),
    )
}

fn pod(namespace: &str, labels: Labels) -> Caller {
    Caller::Pod { namespace: namespace.to_owned(), labels }
}

/// The ports that a caller reaches on the set's pods.
fn reached(manifests: &Manifests, caller: &Caller) -> Vec<u16> {
    let own = &manifests.stateful_set.spec.template.metadata.labels;
    PORTS.into_iter().filter(|port| allow(&manifests.network_policies, own, caller, *port)).collect()
}

/// The rows that are the same with and without metrics.
fn assert_closed(manifests: &Manifests, set: &str, label: &str) {
    let client = Labels::from([("app".to_owned(), "client".to_owned())]);
    let table: [(&str, Caller, &[u16]); 7] = [
        ("the node", Caller::Node, &PORTS),
        ("a pod of the set", pod("default", labels(set)), &[3306, 3307]),
        ("another set's pod beside it", pod("default", labels("other")), &[3306]),
        ("a client in the namespace", pod("default", client.clone()), &[3306]),
        ("a client elsewhere", pod("elsewhere", client), &[]),
        ("a pod elsewhere that has the set's labels", pod("elsewhere", labels(set)), &[]),
        ("nobody's pod", Caller::Outside, &[]),
    ];
    for (who, caller, ports) in table {
        assert_eq!(reached(manifests, &caller), ports, "{label}: {who}");
    }
}

#[test]
fn a_policy_admits_only_the_callers_of_a_port() -> Result<()> {
    for overlay in kustomize::names("overlays")?.iter().filter(|name| !name.ends_with("from-tutorial")) {
        let policy: &[&str] = if overlay.ends_with("-secrets") { &[] } else { &["network-policy"] };
        for (lines, set) in [("", "mysql"), ("nameSuffix: -b", "mysql-b"), ("namePrefix: db-", "db-mysql")] {
            let alone = Manifests::parse(&kustomize::build_with(overlay, policy, lines)?)?;
            assert_closed(&alone, set, &format!("{overlay} {lines}"));
            let prometheus = pod("monitoring", Labels::new());
            assert_eq!(reached(&alone, &prometheus), [0; 0], "{overlay} {lines}");

            let watched = kustomize::build_with(overlay, &[policy, &["monitoring"]].concat(), lines)?;
            let watched = Manifests::parse(&watched)?;
            assert_closed(&watched, set, &format!("{overlay} {lines} with monitoring"));
            assert_eq!(reached(&watched, &prometheus), [8307], "{overlay} {lines}");
        }
    }
    Ok(())
}

/// A block of YAML in the guide that contains these words.
fn recipe(words: &str) -> Result<&'static str> {
    let blocks = include_str!("../../docs/guide/network-policy.md").split("```yaml\n").skip(1);
    let blocks = blocks.filter_map(|block| Some(block.split_once("```")?.0));
    blocks.into_iter().find(|block| block.contains(words)).with_context(|| format!("no recipe has {words}"))
}

#[test]
fn the_guides_recipes_admit_the_named_callers() -> Result<()> {
    let mut manifests = Manifests::parse(&kustomize::build("mariadb-secrets", &[])?)?;
    let shop = pod("shop", Labels::new());
    assert_eq!(reached(&manifests, &shop), [0; 0]);
    manifests.network_policies.push(serde_yaml_ng::from_str(recipe("mysql-clients")?)?);
    assert_eq!(reached(&manifests, &shop), [3306]);
    assert_closed(&manifests, "mysql", "beside the clients' policy");

    let moved = kustomize::build_with("mariadb-secrets", &["monitoring"], "")?;
    let moved = Manifests::parse(&moved)?;
    assert_eq!(reached(&moved, &pod("observability", Labels::new())), [0; 0]);
    let moved = kustomize::build_with("mariadb-secrets", &["monitoring"], recipe("observability")?)?;
    let moved = Manifests::parse(&moved)?;
    assert_eq!(reached(&moved, &pod("observability", Labels::new())), [8307]);
    assert_eq!(reached(&moved, &pod("monitoring", Labels::new())), [0; 0]);
    Ok(())
}

/// An overlay's name says whether it is open or closed.
#[test]
fn only_the_overlays_with_secrets_are_closed_by_default() -> Result<()> {
    for overlay in kustomize::names("overlays")? {
        let manifests = Manifests::parse(&kustomize::build(&overlay, &[])?)?;
        let everybody: &[u16] = if overlay.ends_with("-secrets") { &[] } else { &PORTS };
        assert_eq!(reached(&manifests, &Caller::Outside), everybody, "{overlay}");
    }
    Ok(())
}

/// A policy that came with the metrics alone would block all SQL.
#[test]
fn metrics_alone_bring_no_policy() -> Result<()> {
    let manifests = Manifests::parse(&kustomize::build("mariadb", &["monitoring"])?)?;
    assert!(manifests.network_policies.is_empty());
    Ok(())
}

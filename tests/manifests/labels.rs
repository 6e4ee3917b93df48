//! Kubernetes' recommended labels, on every object of a set and on its pods.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_yaml_ng::Value;

use super::selectors::selectors;
use super::{addable, kustomize, read};

const RECOMMENDED: [&str; 6] = ["component", "instance", "managed-by", "name", "part-of", "version"];

/// Selectors use these labels alone, because a selector is unchangeable.
const SELECTING: [&str; 2] = ["app", "app.kubernetes.io/instance"];

/// Every overlay, alone and with all components, in sets of three names.
fn built() -> Result<Vec<(String, Vec<Value>)>> {
    let mut all = Vec::new();
    for overlay in kustomize::names("overlays")? {
        let components = addable(&overlay)?;
        for components in [Vec::new(), components.iter().map(String::as_str).collect()] {
            for lines in ["", "nameSuffix: -b", "namePrefix: db-"] {
                let objects = read(&kustomize::build_with(&overlay, &components, lines)?)?;
                all.push((format!("{overlay} {components:?} {lines}"), objects));
            }
        }
    }
    Ok(all)
}

fn stateful_set(objects: &[Value]) -> Result<&Value> {
    objects.iter().find(|object| object["kind"] == "StatefulSet").context("a StatefulSet")
}

/// The version in the server's image.
fn server_version(set: &Value) -> Result<&str> {
    let containers = set["spec"]["template"]["spec"]["containers"].as_sequence().context("containers")?;
    let server = containers.iter().find(|container| container["name"] == "mysql").context("the server")?;
    Ok(server["image"].as_str().context("an image")?.rsplit_once(':').context("a tag")?.1)
}

#[test]
fn every_object_and_pod_has_the_recommended_labels() -> Result<()> {
    for (label, objects) in built()? {
        let set = stateful_set(&objects)?;
        let (name, version) = (&set["metadata"]["name"], server_version(set)?);
        for object in objects.iter().chain([&set["spec"]["template"]]) {
            let label = format!("{label}: {:?} {:?}", object["kind"], object["metadata"]["name"]);
            let labels = &object["metadata"]["labels"];
            for wanted in RECOMMENDED {
                // An unquoted version is a number, which Kubernetes refuses.
                ensure!(labels[format!("app.kubernetes.io/{wanted}")].is_string(), "{label}: {wanted}: {labels:?}");
            }
            ensure!(labels["app.kubernetes.io/instance"] == *name, "{label}: {labels:?}");
            ensure!(labels["app.kubernetes.io/version"] == version, "{label}: {labels:?}");
        }
    }
    Ok(())
}

#[test]
fn selectors_and_claims_keep_the_labels_that_cannot_be_changed() -> Result<()> {
    for (label, objects) in built()? {
        for selector in objects.iter().flat_map(|object| selectors(&object["spec"])) {
            let others: BTreeSet<&str> =
                selector.keys().map(String::as_str).filter(|name| !SELECTING.contains(name)).collect();
            ensure!(others.is_empty() && selector.contains_key("app"), "{label}: {selector:?}");
        }
        let claims = stateful_set(&objects)?["spec"]["volumeClaimTemplates"].as_sequence().context("claims")?;
        ensure!(claims.iter().all(|claim| claim["metadata"].get("labels").is_none()), "{label}: {claims:?}");
    }
    Ok(())
}

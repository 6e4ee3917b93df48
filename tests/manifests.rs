//! What the manifests say about the program is so: its commands, flags and variables, in every overlay, alone and with
//! each component.

mod flags;
#[path = "pods/mod.rs"]
mod pods;

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use flags::{SECRETS, flags, name, variable};
use mysqlset::cli::{Cli, Command};
use pods::kustomize;
use pods::manifest::{Container, Manifests, PodSpec};
use serde::Deserialize;
use serde_yaml_ng::Value;

/// Where the manifests have it in containers of other images.
const PROGRAM: &str = "/mysqlset/mysqlset";

/// Its commands, each in a container of its own, in the order of their starts.
const COMMANDS: [&str; 4] = ["install", "init-config", "clone", "sidecar"];

/// Components of which each overlay has one.
const CHOSEN: [&str; 2] = ["no-passwords", "secrets"];

/// Every overlay, alone and with each component that may be added.
fn all() -> Result<Vec<(String, Manifests)>> {
    let mut all = Vec::new();
    for overlay in kustomize::names("overlays")? {
        let components = kustomize::names("components")?;
        let added = components.iter().filter(|component| !CHOSEN.contains(&component.as_str()));
        let choices = added.map(|component| vec![component.as_str()]);
        for choice in std::iter::once(Vec::new()).chain(choices) {
            let label = format!("{overlay} {choice:?}");
            let manifests = Manifests::parse(&kustomize::build(&overlay, &choice)?);
            all.push((label.clone(), manifests.context(label)?));
        }
    }
    ensure!(all.len() > 10, "only {}", all.len());
    Ok(all)
}

fn pod(manifests: &Manifests) -> &PodSpec {
    &manifests.stateful_set.spec.template.spec
}

fn containers(pod: &PodSpec) -> impl Iterator<Item = &Container> {
    pod.init_containers.iter().chain(&pod.containers)
}

/// What the program is called with in a container, where it is it that runs there.
fn words(container: &Container) -> Option<Vec<&String>> {
    let args = container.args.iter().flatten();
    match &container.command {
        Some(command) if command[0] == PROGRAM => Some(command[1..].iter().chain(args).collect()),
        None if container.image.starts_with("mysqlset:") => Some(args.collect()),
        _ => None,
    }
}

fn parse(words: &[&String]) -> Result<Cli> {
    let arguments = ["mysqlset".to_owned()].into_iter().chain(words.iter().map(|word| (*word).clone()));
    Cli::try_parse_from(arguments).with_context(|| format!("{words:?}"))
}

#[test]
fn containers_run_commands_and_set_variables_that_are_there() -> Result<()> {
    let mut variables: BTreeSet<String> = flags().iter().map(variable).collect();
    variables.extend(SECRETS.map(str::to_owned));
    for (label, manifests) in all()? {
        let mut commands = Vec::new();
        for container in containers(pod(&manifests)) {
            if let Some(words) = words(container) {
                parse(&words).with_context(|| format!("{label}: {}", container.name))?;
                commands.push(words[0].as_str());
            }
            for set in container.env.iter().filter(|set| set.name.starts_with("MYSQLSET_")) {
                ensure!(variables.contains(&set.name), "{label}: {} sets {}", container.name, set.name);
            }
        }
        // Init containers come in the order in which they run; kustomize puts first what a patch names.
        assert_eq!(commands, COMMANDS, "{label}");
    }
    Ok(())
}

#[test]
fn probes_are_ours_and_answer_before_they_are_given_up() -> Result<()> {
    for (label, manifests) in all()? {
        let mut asked = 0;
        for container in containers(pod(&manifests)) {
            let probes = [&container.startup_probe, &container.readiness_probe, &container.liveness_probe];
            for probe in probes.into_iter().flatten() {
                let Some(exec) = &probe.exec else { continue };
                ensure!(exec.command[0] == PROGRAM, "{label}: {} asks {:?}", container.name, exec.command);
                let cli = parse(&exec.command[1..].iter().collect::<Vec<_>>())?;
                let Command::Probe(words) = cli.command else { panic!("{label}: {}: no probe", container.name) };
                ensure!(words.timeout < probe.timeout_seconds, "{label}: {}: it answers too late", container.name);
                asked += 1;
            }
        }
        assert_eq!(asked, 3, "{label}");
    }
    Ok(())
}

#[test]
fn all_speak_of_this_version() -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let label = format!("org.opencontainers.image.version=\"{version}\"");
    assert!(include_str!("../docker/Dockerfile").contains(&label), "the Dockerfile's label");
    for overlay in kustomize::names("overlays")? {
        let manifests = Manifests::parse(&kustomize::build(&overlay, &[])?)?;
        let images = containers(pod(&manifests)).map(|container| container.image.clone());
        let ours: Vec<String> = images.filter(|image| image.starts_with("mysqlset")).collect();
        assert!(
            !ours.is_empty() && ours.iter().all(|image| *image == format!("mysqlset:{version}")),
            "{overlay}: {ours:?}"
        );
    }
    Ok(())
}

/// As the pod security standard "restricted" has it, and a root that nobody writes to.
#[test]
fn no_container_may_do_more_than_it_must() -> Result<()> {
    for overlay in kustomize::names("overlays")? {
        for document in serde_yaml_ng::Deserializer::from_str(&kustomize::build(&overlay, &[])?) {
            let document = Value::deserialize(document)?;
            if document["kind"] != "StatefulSet" {
                continue;
            }
            let spec = &document["spec"]["template"]["spec"];
            let pod = &spec["securityContext"];
            assert_eq!(pod["runAsNonRoot"], true, "{overlay}");
            assert_eq!(pod["seccompProfile"]["type"], "RuntimeDefault", "{overlay}");
            assert_eq!(pod["fsGroupChangePolicy"], "OnRootMismatch", "{overlay}");
            assert_eq!(spec["automountServiceAccountToken"], false, "{overlay}");
            let list = |name: &str| spec[name].as_sequence().cloned().unwrap_or_default();
            for volume in list("volumes") {
                let harmless = ["emptyDir", "configMap", "secret"];
                assert!(harmless.iter().any(|kind| volume.get(kind).is_some()), "{overlay}: {volume:?}");
            }
            for container in list("initContainers").into_iter().chain(list("containers")) {
                let name = format!("{overlay}: {:?}", container["name"]);
                let own = &container["securityContext"];
                assert_eq!(own["allowPrivilegeEscalation"], false, "{name}");
                assert_eq!(own["readOnlyRootFilesystem"], true, "{name}");
                assert_eq!(own["capabilities"]["drop"][0], "ALL", "{name}");
                assert!(own["capabilities"].get("add").is_none() && own.get("privileged").is_none(), "{name}");
                assert!(own.get("runAsUser").is_none() && own.get("seccompProfile").is_none(), "{name}");
                for asked in [&container["resources"]["requests"]["cpu"], &container["resources"]["requests"]["memory"]]
                {
                    assert!(asked.is_string(), "{name}: {asked:?}");
                }
                assert!(container["resources"]["limits"]["memory"].is_string(), "{name}");
            }
        }
    }
    Ok(())
}

/// Prometheus says nothing about a metric that isn't there.
#[test]
fn alerts_and_dashboard_ask_for_metrics_that_are_there() {
    let readme = include_str!("../README.md");
    let asked = concat!(
        include_str!("../k8s/components/monitoring/alerts.yaml"),
        include_str!("../k8s/components/monitoring/dashboard.json")
    );
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let names = asked.split(|character| !is_part(character)).filter(|word| word.starts_with("mysqlset_"));
    let names: BTreeSet<&str> = names.collect();
    assert!(names.len() > 8, "{names:?}");
    for name in names {
        assert!(readme.contains(&format!("`{name}`")), "{name} is not among the README's metrics");
    }
}

#[test]
fn a_pod_has_time_to_end() -> Result<()> {
    let drain = flags().into_iter().find(|flag| name(flag) == "--drain-timeout").context("--drain-timeout")?;
    let drain: u64 = drain.get_default_values()[0].to_str().context("a default")?.parse()?;
    for (label, manifests) in all()? {
        let grace = pod(&manifests).termination_grace_period_seconds;
        ensure!(drain < grace, "{label}: a drain may take longer than the pod's grace period of {grace} seconds");
    }
    Ok(())
}

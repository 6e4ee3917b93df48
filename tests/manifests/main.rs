//! The manifests agree with the program: its commands, flags and variables, in every overlay, alone and with each
//! component.

mod labels;
mod limits;
mod network_policy;
mod requests;
mod restricted;
mod selectors;
mod version;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use anyhow::{Context, Result, anyhow, ensure};
use clap::{CommandFactory, Parser};
use harness::flags::{SECRETS, variable};
use harness::pods::kustomize;
use harness::pods::manifest::{Container, Manifests, PodSpec};
use mysqlset::cli::{Cli, Command};
use serde::Deserialize;
use serde_yaml_ng::Value;

/// The program's path in containers of other images.
const PROGRAM: &str = "/mysqlset/mysqlset";

/// Its commands, each in a container of its own, in the order of their starts.
const COMMANDS: [&str; 3] = ["init-config", "clone", "sidecar"];

/// Components of which each overlay has exactly one.
const CHOSEN: [&str; 2] = ["no-passwords", "secrets"];

/// The optional components, in the order of the guide's list: `monitoring` adds to the network policy, and
/// `native-sidecar` moves the containers that others change.
fn addable(overlay: &str) -> Result<Vec<String>> {
    let is_there = |name: &str| CHOSEN.contains(&name) || (name == "network-policy" && overlay.ends_with("-secrets"));
    let mut names = kustomize::names("components")?;
    names.retain(|name| !is_there(name));
    let place = |name: &String| match name.as_str() {
        "network-policy" => 0,
        "native-sidecar" => 2,
        _ => 1,
    };
    names.sort_by_key(place);
    Ok(names)
}

/// Every overlay, alone and with each optional component.
fn all() -> Result<&'static [(String, Manifests)]> {
    static ALL: LazyLock<Result<Vec<(String, Manifests)>>> = LazyLock::new(build_all);
    ALL.as_deref().map_err(|error| anyhow!("{error:#}"))
}

fn build_all() -> Result<Vec<(String, Manifests)>> {
    let mut all = Vec::new();
    for overlay in kustomize::names("overlays")? {
        let components = addable(&overlay)?;
        let choices = components.iter().map(|component| vec![component.as_str()]);
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

/// The program's arguments in a container that runs it.
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

/// Every call of our program in a container: its own command, its probes and its hooks.
fn all_words(container: &Container) -> Result<Vec<Vec<&String>>> {
    let probes = [&container.startup_probe, &container.readiness_probe, &container.liveness_probe];
    let probes = probes.into_iter().flatten().filter_map(|probe| probe.exec.as_ref());
    let hooks = container.lifecycle.iter().filter_map(|lifecycle| lifecycle.pre_stop.as_ref()).map(|hook| &hook.exec);
    let mut all: Vec<Vec<&String>> = words(container).into_iter().collect();
    for exec in probes.chain(hooks) {
        ensure!(exec.command[0] == PROGRAM, "{:?} is not ours", exec.command);
        all.push(exec.command[1..].iter().collect());
    }
    Ok(all)
}

/// The variables that a command reads.
fn heeded(words: &[&String]) -> BTreeSet<String> {
    let mut root = Cli::command();
    root.build();
    let (mut command, mut found) = (&root, BTreeSet::new());
    let mut words = words.iter();
    loop {
        found.extend(command.get_arguments().filter(|flag| flag.get_env().is_some()).map(variable));
        match words.next().and_then(|word| command.find_subcommand(word.as_str())) {
            Some(below) => command = below,
            None => break,
        }
    }
    let of_files: Vec<String> = found.iter().filter_map(|name| name.strip_suffix("_FILE")).map(str::to_owned).collect();
    found.extend(of_files.into_iter().filter(|name| SECRETS.contains(&name.as_str())));
    found
}

/// The objects of an overlay with all optional components.
fn objects(overlay: &str) -> Result<Vec<Value>> {
    let components = addable(overlay)?;
    read(&kustomize::build(overlay, &components.iter().map(String::as_str).collect::<Vec<_>>())?)
}

fn read(text: &str) -> Result<Vec<Value>> {
    serde_yaml_ng::Deserializer::from_str(text).map(|document| Ok(Value::deserialize(document)?)).collect()
}

#[test]
fn containers_use_existing_commands_and_variables() -> Result<()> {
    for (label, manifests) in all()? {
        let mut commands = Vec::new();
        for container in containers(pod(manifests)) {
            let label = format!("{label}: {}", container.name);
            let mut variables = BTreeSet::new();
            for words in all_words(container).with_context(|| label.clone())? {
                parse(&words).with_context(|| label.clone())?;
                variables.extend(heeded(&words));
            }
            commands.extend(words(container).map(|words| words[0].as_str()));
            for set in container.env.iter().filter(|set| set.name.starts_with("MYSQLSET_")) {
                ensure!(variables.contains(&set.name), "{label}: nothing there heeds {}", set.name);
            }
        }
        // Init containers run in their order, and kustomize puts those that a patch names first.
        assert_eq!(commands, COMMANDS, "{label}");
    }
    Ok(())
}

#[test]
fn the_program_is_mounted_from_the_image_that_the_kustomization_names() -> Result<()> {
    for overlay in kustomize::names("overlays")? {
        let lines = "images:\n  - name: mysqlset\n    newName: registry:5000/ours\n    newTag: \"7\"";
        let manifests = Manifests::parse(&kustomize::build_with(&overlay, &["image-volume"], lines)?)?;
        let spec = pod(&manifests);
        let volume = spec.volumes.iter().find(|volume| volume.name == "program").context("the volume")?;
        let reference = volume.image.as_ref().map(|image| image.reference.as_str());
        assert_eq!(reference, Some("registry:5000/ours:7"), "{overlay}");
        for container in containers(spec).filter(|container| container.image != "registry:5000/ours:7") {
            let mount = container.volume_mounts.iter().find(|mount| mount.name == "program").context("the program")?;
            assert_eq!((mount.mount_path.as_str(), mount.sub_path.as_deref()), ("/mysqlset", Some("bin")), "{overlay}");
        }
        let own = &spec.init_containers[0];
        assert_eq!(own.args, Some(vec!["init-config".to_owned()]), "{overlay}");
        assert!(own.volume_mounts.iter().all(|mount| mount.name != "program"), "{overlay}: nothing to install to");
    }
    Ok(())
}

/// Rows of tables come with a clone. Then the tutorial's script fails at `CHANGE MASTER` (1872), because it lacks
/// `RESET SLAVE ALL`.
#[test]
fn the_overlay_beside_the_tutorial_keeps_a_replicas_place_in_files() -> Result<()> {
    let files = |overlay: &str| -> Result<Vec<String>> {
        let mut manifests = Manifests::parse(&kustomize::build(overlay, &[])?)?;
        Ok(manifests.server_files().map(|file| file.lines().filter(|line| !line.starts_with('#')).collect()).collect())
    };
    let (moving, moved) = (files("mysql-5.7-from-tutorial")?, files("mysql-5.7")?);
    assert_eq!((moving.len(), moved.len()), (2, 2));
    for (moving, moved) in moving.iter().zip(&moved) {
        assert!(moved.contains("relay_log_info_repository = TABLE"), "{moved}");
        assert_eq!(moving, &moved.replace("_info_repository = TABLE", "_info_repository = FILE"));
    }
    Ok(())
}

/// With hostNetwork the machine's name is the node's, such as worker-1.
#[test]
fn every_container_gets_the_pods_name() -> Result<()> {
    for (label, manifests) in all()? {
        let annotations = &manifests.stateful_set.spec.template.metadata.annotations;
        for container in containers(pod(manifests)) {
            let set = container.env.iter().find(|set| set.name == "MYSQLSET_HOSTNAME");
            let set = set.with_context(|| format!("{label}: {} knows its node's name only", container.name))?;
            assert_eq!(set.value_in("mysql-7", annotations)?, "mysql-7", "{label}: {}", container.name);
        }
    }
    Ok(())
}

#[test]
fn probes_are_ours_and_answer_in_time() -> Result<()> {
    for (label, manifests) in all()? {
        let mut asked = 0;
        for container in containers(pod(manifests)) {
            let probes = [&container.startup_probe, &container.readiness_probe, &container.liveness_probe];
            for probe in probes.into_iter().flatten() {
                let Some(exec) = &probe.exec else { continue };
                ensure!(exec.command[0] == PROGRAM, "{label}: {} asks {:?}", container.name, exec.command);
                let cli = parse(&exec.command[1..].iter().collect::<Vec<_>>())?;
                let Command::Probe(words) = cli.command else { panic!("{label}: {}: no probe", container.name) };
                let latest = words.while_starting + words.timeout;
                ensure!(latest.as_secs() < probe.timeout_seconds, "{label}: {}: it answers too late", container.name);
                asked += 1;
            }
        }
        assert_eq!(asked, 4, "{label}");
    }
    Ok(())
}

/// Prometheus reports no error for a missing metric.
#[test]
fn alerts_and_dashboard_use_existing_metrics() {
    let page = include_str!("../../docs/reference/health.md");
    let asked = concat!(
        include_str!("../../k8s/components/monitoring/alerts.yaml"),
        include_str!("../../k8s/components/monitoring/dashboard.json")
    );
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let names = asked.split(|character| !is_part(character)).filter(|word| word.starts_with("mysqlset_"));
    let names: BTreeSet<&str> = names.collect();
    assert!(names.len() > 8, "{names:?}");
    for name in names {
        assert!(page.contains(&format!("`{name}`")), "{name} is not among the documented metrics");
    }
}

#[test]
fn a_pod_has_time_to_end() -> Result<()> {
    let Command::Drain(drain) = parse(&[&"drain".to_owned()])?.command else { panic!("no drain") };
    let drain = drain.limit.drain_timeout.as_secs();
    for (label, manifests) in all()? {
        let grace = pod(manifests).termination_grace_period_seconds;
        ensure!(drain < grace, "{label}: a drain may take longer than the pod's grace period of {grace} seconds");
    }
    Ok(())
}

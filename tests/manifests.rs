//! What the manifests say about the program is so: its commands, flags and variables, in every overlay, alone and with
//! each component.

mod flags;
#[path = "manifests/limits.rs"]
mod limits;
#[path = "manifests/network_policy.rs"]
mod network_policy;
#[path = "pods/mod.rs"]
mod pods;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use anyhow::{Context, Result, anyhow, ensure};
use clap::{CommandFactory, Parser};
use flags::{SECRETS, flags, name, variable};
use mysqlset::cli::{Cli, Command};
use pods::kustomize;
use pods::manifest::{Container, Manifests, PodSpec, selects};
use serde::Deserialize;
use serde_yaml_ng::Value;

/// Where the manifests have it in containers of other images.
const PROGRAM: &str = "/mysqlset/mysqlset";

/// Its commands, each in a container of its own, in the order of their starts.
const COMMANDS: [&str; 3] = ["init-config", "clone", "sidecar"];

/// Components of which each overlay has one.
const CHOSEN: [&str; 2] = ["no-passwords", "secrets"];

/// The components that may be added to an overlay, in the order in which the guide has them listed: `monitoring` adds to the
/// network policy, and `native-sidecar` moves what others change.
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

/// Every overlay, alone and with each component that may be added.
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

/// All that a container runs of ours: its own command, its probes and its hooks.
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

/// The variables that a command heeds.
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

#[test]
fn containers_run_commands_and_set_variables_that_are_there() -> Result<()> {
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
        // Init containers come in the order in which they run; kustomize puts first what a patch names.
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

/// Rows of tables come along with a clone: the tutorial's script then fails at CHANGE MASTER (1872), for it has no RESET
/// SLAVE ALL.
#[test]
fn while_the_tutorials_pods_may_clone_a_replicas_place_is_in_files() -> Result<()> {
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

/// In thousandths of a core and MiB: what a node must have left for a pod.
fn asked_for(pod: &PodSpec) -> Result<(u64, u64)> {
    let of = |container: &Container| -> Result<(u64, u64)> {
        let requests = &container.resources.requests;
        let cpu = requests.cpu.as_deref().and_then(|cpu| cpu.strip_suffix('m')).context("cpu, as 100m")?.parse()?;
        let memory = requests.memory.as_deref().context("memory")?;
        let unit = if memory.ends_with("Gi") { 1024 } else { 1 };
        Ok((cpu, memory.trim_end_matches(|letter: char| letter.is_alphabetic()).parse::<u64>()? * unit))
    };
    let sum = pod.containers.iter().map(of).collect::<Result<Vec<_>>>()?;
    let together = sum.iter().fold((0, 0), |(cpu, memory), (more, much)| (cpu + more, memory + much));
    pod.init_containers.iter().try_fold(together, |(cpu, memory), container| {
        let (alone, much) = of(container)?;
        Ok((cpu.max(alone), memory.max(much)))
    })
}

#[test]
fn the_guide_says_what_a_set_needs_and_a_small_one_fits_a_small_node() -> Result<()> {
    let guide = include_str!("../docs/guide/sizes.md");
    for overlay in kustomize::names("overlays")? {
        for (label, components) in [("as shipped", &[][..]), ("with `small`", &["small"][..])] {
            let (cpu, memory) = asked_for(pod(&Manifests::parse(&kustomize::build(&overlay, components)?)?))?;
            let cores = |pods: u64| {
                format!("{:.2} cores, {:.1} GiB", (cpu * pods) as f64 / 1e3, (memory * pods) as f64 / 1024.0)
            };
            let row = format!("| {label} | {} | {} | {} |", cores(1), cores(3), cores(5));
            assert!(guide.contains(&row), "{overlay}: the guide lacks {row}");
            if label != "as shipped" {
                // Half of a node of two cores and four GiB is the node's own and its cluster's.
                assert!(cpu * 5 <= 1000 && memory * 5 <= 2200, "{overlay}: {cpu}m, {memory} MiB");
            }
        }
    }
    Ok(())
}

/// With hostNetwork the machine's name is the node's, such as worker-1.
#[test]
fn every_container_is_told_the_pods_name() -> Result<()> {
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

/// The objects of an overlay with all components that may be added.
fn objects(overlay: &str) -> Result<Vec<Value>> {
    let components = addable(overlay)?;
    read(&kustomize::build(overlay, &components.iter().map(String::as_str).collect::<Vec<_>>())?)
}

fn read(text: &str) -> Result<Vec<Value>> {
    serde_yaml_ng::Deserializer::from_str(text).map(|document| Ok(Value::deserialize(document)?)).collect()
}

#[test]
fn whatever_selects_pods_selects_the_sets_and_ports_are_theirs() -> Result<()> {
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

/// The labels by which an object selects pods, wherever in it; one that selects all pods of a namespace has none.
fn selectors(value: &Value) -> Vec<BTreeMap<String, String>> {
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

/// One set with a network policy, metrics and all, beside others of one namespace.
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
            // StatefulSet, two constraints of its, two Services, budget, metrics; the policy's pods, and those that clone.
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
        include_str!("../docs/guide/second-set.md").split_once("```yaml\npatches:").context("the recipe")?;
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

#[test]
fn probes_are_ours_and_answer_before_they_are_given_up() -> Result<()> {
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
                ensure!(latest < probe.timeout_seconds, "{label}: {}: it answers too late", container.name);
                asked += 1;
            }
        }
        assert_eq!(asked, 4, "{label}");
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
    let mut looked_at = 0;
    for overlay in kustomize::names("overlays")? {
        for document in objects(&overlay)?.into_iter().chain(read(&kustomize::build(&overlay, &[])?)?) {
            if document["kind"] == "StatefulSet" {
                assert_restricted(&document["spec"]["template"]["spec"], &overlay);
                looked_at += 1;
            }
        }
    }
    // Alone, and with all components, where the sidecar is an init container.
    assert_eq!(looked_at, 2 * kustomize::names("overlays")?.len());
    Ok(())
}

fn assert_restricted(spec: &Value, overlay: &str) {
    let pod = &spec["securityContext"];
    assert_eq!(pod["runAsNonRoot"], true, "{overlay}");
    assert_eq!(pod["seccompProfile"]["type"], "RuntimeDefault", "{overlay}");
    assert_eq!(pod["fsGroupChangePolicy"], "OnRootMismatch", "{overlay}");
    assert_eq!(spec["automountServiceAccountToken"], false, "{overlay}");
    let list = |name: &str| spec[name].as_sequence().cloned().unwrap_or_default();
    for volume in list("volumes") {
        let harmless = ["emptyDir", "configMap", "secret", "image"];
        assert!(harmless.iter().any(|kind| volume.get(kind).is_some()), "{overlay}: {volume:?}");
    }
    let containers = [list("initContainers"), list("containers")].concat();
    assert_eq!(containers.len(), 4, "{overlay}");
    for container in containers {
        let name = format!("{overlay}: {:?}", container["name"]);
        let own = &container["securityContext"];
        assert_eq!(own["allowPrivilegeEscalation"], false, "{name}");
        assert_eq!(own["readOnlyRootFilesystem"], true, "{name}");
        assert_eq!(own["capabilities"]["drop"][0], "ALL", "{name}");
        assert!(own["capabilities"].get("add").is_none() && own.get("privileged").is_none(), "{name}");
        assert!(own.get("runAsUser").is_none() && own.get("seccompProfile").is_none(), "{name}");
        for asked in [&container["resources"]["requests"]["cpu"], &container["resources"]["requests"]["memory"]] {
            assert!(asked.is_string(), "{name}: {asked:?}");
        }
        assert!(container["resources"]["limits"]["memory"].is_string(), "{name}");
    }
}

/// Prometheus says nothing about a metric that isn't there.
#[test]
fn alerts_and_dashboard_ask_for_metrics_that_are_there() {
    let page = include_str!("../docs/reference/health.md");
    let asked = concat!(
        include_str!("../k8s/components/monitoring/alerts.yaml"),
        include_str!("../k8s/components/monitoring/dashboard.json")
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
    let drain = flags().into_iter().find(|flag| name(flag) == "--drain-timeout").context("--drain-timeout")?;
    let drain: u64 = drain.get_default_values()[0].to_str().context("a default")?.parse()?;
    for (label, manifests) in all()? {
        let grace = pod(manifests).termination_grace_period_seconds;
        ensure!(drain < grace, "{label}: a drain may take longer than the pod's grace period of {grace} seconds");
    }
    Ok(())
}

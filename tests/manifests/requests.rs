//! A set's demands on its nodes.

use anyhow::{Context, Result};
use harness::pods::kustomize;
use harness::pods::manifest::{Container, Manifests, PodSpec};

use super::pod;

/// In thousandths of a core and MiB: the free resources that a pod requires.
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
fn the_guide_states_the_requests_and_a_small_set_fits_a_small_node() -> Result<()> {
    let guide = include_str!("../../docs/guide/sizes.md");
    for overlay in kustomize::names("overlays")? {
        for (label, components) in [("as shipped", &[][..]), ("with `small`", &["small"][..])] {
            let (cpu, memory) = asked_for(pod(&Manifests::parse(&kustomize::build(&overlay, components)?)?))?;
            let cores = |pods: u64| {
                format!("{:.2} cores, {:.1} GiB", (cpu * pods) as f64 / 1e3, (memory * pods) as f64 / 1024.0)
            };
            let row = format!("| {label} | {} | {} | {} |", cores(1), cores(3), cores(5));
            assert!(guide.contains(&row), "{overlay}: the guide lacks {row}");
            if label != "as shipped" {
                // Half of a node of two cores and four GiB belongs to the node and its cluster.
                assert!(cpu * 5 <= 1000 && memory * 5 <= 2200, "{overlay}: {cpu}m, {memory} MiB");
            }
        }
    }
    Ok(())
}

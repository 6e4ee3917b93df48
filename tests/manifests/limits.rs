//! A pod's use of its node's disk.

use anyhow::{Context, Result, ensure};
use harness::pods::manifest::{Manifests, bytes};

use super::{all, kustomize, pod, read};

/// Kubelet evicts a pod that exceeds its limits, so each limit must be far above a healthy pod's use.
#[test]
fn every_empty_volume_has_a_limit_that_no_healthy_pod_reaches() -> Result<()> {
    // A program and its successor of twice its size; two ConfigMaps of the maximum size; sockets.
    let least = [("program", 30 << 20), ("conf", 4 << 20), ("run", 1 << 20)];
    for (label, manifests) in all()? {
        let mut limited = 0;
        for volume in &pod(manifests).volumes {
            let Some(empty) = &volume.empty_dir else { continue };
            let limit = empty.size_limit.as_deref();
            let limit = bytes(limit.with_context(|| format!("{label}: the volume {} has no limit", volume.name))?)?;
            let needed = least.iter().find(|(name, _)| *name == volume.name).map_or(0, |(_, needed)| *needed);
            ensure!(limit >= needed, "{label}: the volume {} has {limit} bytes and needs {needed}", volume.name);
            limited += 1;
        }
        ensure!(limited >= 3, "{label}: only {limited} empty volumes");
    }
    Ok(())
}

#[test]
fn the_guides_recipe_raises_what_temporary_files_may_take() -> Result<()> {
    let (_, recipe) =
        include_str!("../../docs/guide/resize.md").split_once("## Temporary files").context("the section")?;
    let (_, recipe) = recipe.split_once("```yaml\n").context("the recipe")?;
    let (recipe, _) = recipe.split_once("```").context("its end")?;
    for overlay in kustomize::names("overlays")? {
        let manifests = Manifests::parse(&kustomize::build_with(&overlay, &[], recipe)?)?;
        let raised = pod(&manifests).volumes.iter().find(|volume| volume.name == "tmp").context("the volume tmp")?;
        let limit = raised.empty_dir.as_ref().and_then(|empty| empty.size_limit.as_deref());
        ensure!(limit == Some("50Gi"), "{overlay}: {limit:?}");
    }
    Ok(())
}

/// Sorts and ALTER TABLE may write about as much as their table has.
#[test]
fn temporary_files_may_be_as_large_as_all_data() -> Result<()> {
    for overlay in kustomize::names("overlays")? {
        let objects = read(&kustomize::build(&overlay, &[])?)?;
        let set = objects.iter().find(|object| object["kind"] == "StatefulSet").context("the set")?;
        let claim = &set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"];
        let volumes = set["spec"]["template"]["spec"]["volumes"].as_sequence().context("volumes")?;
        let temporary = volumes.iter().find(|volume| volume["name"] == "tmp").context("the volume tmp")?;
        let limit = temporary["emptyDir"]["sizeLimit"].as_str().context("its limit")?;
        ensure!(bytes(limit)? >= bytes(claim.as_str().context("a claim's size")?)?, "{overlay}: {limit} < {claim:?}");
    }
    Ok(())
}

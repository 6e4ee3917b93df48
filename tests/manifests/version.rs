//! The version is in Cargo.toml. Files that cannot read it there must agree with it.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use super::{Manifests, containers, kustomize, pod};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The sources of copied commands and manifests.
const COPIED_FROM: [&str; 5] = ["README.md", "docs", "k8s", "docker", ".github"];

fn files(path: PathBuf) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path)? {
        found.extend(files(entry?.path())?);
    }
    Ok(found)
}

#[test]
fn manifests_and_image_are_of_this_version() -> Result<()> {
    for (name, value) in [("version", VERSION), ("description", env!("CARGO_PKG_DESCRIPTION"))] {
        let label = format!("org.opencontainers.image.{name}=\"{value}\"");
        ensure!(include_str!("../../docker/Dockerfile").contains(&label), "the Dockerfile lacks {label}");
    }
    for overlay in kustomize::names("overlays")? {
        let manifests = Manifests::parse(&kustomize::build(&overlay, &[])?)?;
        let images = containers(pod(&manifests)).map(|container| container.image.clone());
        let ours: Vec<String> = images.filter(|image| image.starts_with("mysqlset")).collect();
        let is_this = |image: &String| *image == format!("mysqlset:{VERSION}");
        ensure!(!ours.is_empty() && ours.iter().all(is_this), "{overlay}: {ours:?}");
    }
    Ok(())
}

#[test]
fn every_image_that_a_page_names_is_of_this_version() -> Result<()> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = 0;
    for file in COPIED_FROM.map(|part| files(project.join(part))).into_iter().collect::<Result<Vec<_>>>()?.concat() {
        let text = String::from_utf8_lossy(&std::fs::read(&file)?).into_owned();
        for after in
            text.split("mysqlset:").skip(1).filter(|after| after.starts_with(|next: char| next.is_ascii_digit()))
        {
            let tag = after.split(|next: char| !next.is_ascii_digit() && next != '.').next().unwrap_or_default();
            ensure!(tag.trim_end_matches('.') == VERSION, "{} names mysqlset:{tag}", file.display());
            named += 1;
        }
    }
    ensure!(named > 1, "only {named} images are named");
    Ok(())
}

#[test]
fn the_changelog_has_an_entry_for_this_version_or_the_next() -> Result<()> {
    let changelog = include_str!("../../CHANGELOG.md");
    let headings: Vec<&str> = changelog.lines().filter_map(|line| line.strip_prefix("## [")).collect();
    let is_known = |heading: &&str| heading.starts_with("Unreleased]") || heading.starts_with(&format!("{VERSION}]"));
    ensure!(headings.first().is_some_and(is_known), "{headings:?}");
    Ok(())
}

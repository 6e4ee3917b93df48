//! The objects that `kubectl apply -k` would send, built by kustomize.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::project;

/// The path at which `make packages` installs it.
const PROGRAM: &str = "target/tools/kustomize/root/usr/bin/kustomize";

/// Names in `k8s/overlays` or `k8s/components`.
pub fn names(kind: &str) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(project().join("k8s").join(kind))?;
    let mut names: Vec<String> =
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<Result<_>>()?;
    names.sort();
    Ok(names)
}

/// An overlay with components added, as a user's own kustomization would.
pub fn build(overlay: &str, components: &[&str]) -> Result<String> {
    let directory = if components.is_empty() {
        project().join("k8s/overlays").join(overlay)
    } else {
        users_own(overlay, components, "")?
    };
    run(&directory)
}

/// The same with more lines in the user's kustomization, such as `nameSuffix: -b`.
pub fn build_with(overlay: &str, components: &[&str], lines: &str) -> Result<String> {
    run(&users_own(overlay, components, lines)?)
}

/// The output of kustomize for a directory.
pub fn run(directory: &Path) -> Result<String> {
    let program = project().join(PROGRAM);
    ensure!(program.exists(), "{PROGRAM} is not there: `make packages` fetches it");
    let output = Command::new(program).arg("build").arg(directory).output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "building {}: {}", directory.display(), error.trim());
    ensure!(error.is_empty(), "building {}: {}", directory.display(), error.trim());
    String::from_utf8(output.stdout).context("what kustomize writes")
}

/// A kustomization in the form of docs/guide/install.md.
fn users_own(overlay: &str, components: &[&str], lines: &str) -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    lines.hash(&mut hasher);
    let name = format!("{overlay}+{}+{:x}", components.join("+"), hasher.finish());
    let directory = project().join("target/kustomizations").join(name);
    std::fs::create_dir_all(&directory)?;
    let mut text = format!("resources:\n  - ../../../k8s/overlays/{overlay}\n{lines}\n");
    if !components.is_empty() {
        text += "components:\n";
    }
    for component in components {
        text += &format!("  - ../../../k8s/components/{component}\n");
    }
    // In one step: another test may read it now.
    let draft = directory.join(format!("draft-{}-{:?}", std::process::id(), std::thread::current().id()));
    std::fs::write(&draft, text)?;
    std::fs::rename(&draft, directory.join("kustomization.yaml"))?;
    Ok(directory)
}

//! Volumes: claims that outlive their pods, and what a pod has for itself.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, bail};

use super::manifest::{Manifests, SecurityContext, Volume};
use super::network::Network;
use super::pod::Pod;
use super::{Shared, spawner};

/// The claims of a set.
pub struct Claims {
    directory: PathBuf,
    /// Claims that get a file system of their own, of so many bytes.
    limits: Mutex<BTreeMap<String, u64>>,
}

impl Claims {
    pub fn new(directory: PathBuf) -> Result<Claims> {
        std::fs::create_dir_all(&directory)?;
        Ok(Claims { directory, limits: Mutex::default() })
    }

    /// From now on a new volume for this claim holds no more than `bytes`.
    pub fn limit(&self, claim: &str, bytes: u64) {
        self.limits.lock().expect("limits").insert(claim.to_owned(), bytes);
    }

    /// All that there are.
    pub fn names(&self) -> Result<Vec<String>> {
        let entries = std::fs::read_dir(&self.directory)?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    /// Where a claim's volume is, as the test process sees it. A limited one is mounted where only the cluster is.
    pub fn path(&self, claim: &str, network: &Network) -> PathBuf {
        let path = self.directory.join(claim);
        if self.limits.lock().expect("limits").contains_key(claim) {
            Path::new(&format!("/proc/{}/root", network.pid())).join(path.strip_prefix("/").expect("absolute"))
        } else {
            path
        }
    }

    /// Makes a claim's volume where there is none: the group may write, as `fsGroup` has it. One that is there and whose root
    /// is another group's is given to the group, with all that is in it, as `OnRootMismatch` has it.
    pub fn provide(&self, claim: &str, user: &SecurityContext, network: &Network) -> Result<PathBuf> {
        let path = self.directory.join(claim);
        if path.exists() {
            let seen = self.path(claim, network);
            if std::fs::metadata(&seen)?.gid() != user.fs_group {
                spawner::run(Command::new("chgrp").args(["-R", &user.fs_group.to_string()]).arg(&seen))?;
                spawner::run(Command::new("chmod").args(["-R", "g+rwX"]).arg(&seen))?;
            }
            return Ok(path);
        }
        std::fs::create_dir(&path)?;
        if let Some(bytes) = self.limits.lock().expect("limits").get(claim) {
            let mut mount = Command::new("nsenter");
            mount.args(["-t", &network.pid().to_string(), "-m", "--", "mount", "-t", "tmpfs"]);
            mount.args(["-o", &format!("size={bytes}"), "tmpfs"]).arg(&path);
            spawner::run(&mut mount)?;
        }
        give(&self.path(claim, network), user)?;
        Ok(path)
    }

    /// Deletes a claim with its volume.
    pub fn delete(&self, claim: &str, network: &Network) -> Result<()> {
        let path = self.directory.join(claim);
        if self.limits.lock().expect("limits").contains_key(claim) {
            let mut umount = Command::new("nsenter");
            umount.args(["-t", &network.pid().to_string(), "-m", "--", "umount"]).arg(&path);
            spawner::run(&mut umount)?;
        }
        std::fs::remove_dir_all(&path).with_context(|| format!("deleting the volume {claim}"))
    }
}

/// Makes the volumes that live and die with a pod, and the directories that `subPath`s name.
pub fn provide_for_pod(pod: &Pod, shared: &Shared, pod_directory: &Path) -> Result<()> {
    let spec = pod.spec();
    for volume in &spec.volumes {
        let path = pod_directory.join(&volume.name);
        std::fs::create_dir_all(&path)?;
        if let Some(image) = &volume.image {
            shared.images.provide_volume(&image.reference, &path)?;
            continue;
        }
        for (name, text) in contents(volume, &pod.manifests, shared)? {
            write_key(&path.join(name), &text, volume, &spec.security_context)?;
        }
        give(&path, &spec.security_context)?;
    }
    Ok(())
}

/// kubelet makes a `subPath`'s directory when its container starts, if nobody has before.
pub fn provide_sub_path(volume: &Path, sub_path: &str, user: &SecurityContext) -> Result<()> {
    let path = volume.join(sub_path);
    if !path.exists() {
        std::fs::create_dir_all(&path)?;
        give(&path, user)?;
    }
    Ok(())
}

/// Writes a changed key of a Secret to where a pod has it.
pub fn renew_secret(shared: &Shared, pod: &Pod, secret: &str, key: &str, value: &str) -> Result<()> {
    let mounted = pod
        .spec()
        .volumes
        .iter()
        .filter(|volume| volume.secret.as_ref().is_some_and(|source| source.secret_name == secret));
    for volume in mounted {
        let Some(path) = volume.secret.as_ref().and_then(|source| source.path_of(key)) else { continue };
        let directory = pod.directory(shared).join("volumes").join(&volume.name);
        write_key(&directory.join(".new"), value, volume, &pod.spec().security_context)?;
        std::fs::rename(directory.join(".new"), directory.join(path))?;
    }
    Ok(())
}

/// Of root's, and the set's group.
fn write_key(path: &Path, text: &str, volume: &Volume, user: &SecurityContext) -> Result<()> {
    std::fs::write(path, text)?;
    chown(path, Some(0), Some(user.fs_group))?;
    let mode = volume.secret.as_ref().map_or(0o644, |secret| secret.default_mode);
    Ok(rustix::fs::chmod(path, mode.into())?)
}

fn contents(volume: &Volume, manifests: &Manifests, shared: &Shared) -> Result<BTreeMap<String, String>> {
    match (&volume.empty_dir, &volume.config_map, &volume.secret) {
        (Some(_), None, None) => Ok(BTreeMap::new()),
        (None, Some(source), None) => {
            let found = manifests.config_maps.iter().find(|map| map.metadata.name == source.name);
            Ok(found.with_context(|| format!("no ConfigMap {}", source.name))?.data.clone())
        }
        (None, None, Some(source)) => {
            let secrets = shared.secrets.lock().expect("secrets");
            let found =
                secrets.get(&source.secret_name).with_context(|| format!("no Secret {}", source.secret_name))?;
            let there = |(key, value): (&String, &String)| Some((source.path_of(key)?, value.clone()));
            Ok(found.iter().filter_map(there).collect())
        }
        _ => bail!("volume {} is of a kind that the harness does not know", volume.name),
    }
}

fn give(path: &Path, user: &SecurityContext) -> Result<()> {
    chown(path, Some(0), Some(user.fs_group))?;
    rustix::fs::chmod(path, 0o2775.into())?;
    Ok(())
}

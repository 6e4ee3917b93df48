//! Volumes: claims that outlive their pods, and a pod's own volumes.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, bail};

use super::conditions::{Fault, Kind, SIZE, Storage};
use super::groups::Limit;
use super::manifest::volume::{EmptyDir, Volume};
use super::manifest::{Manifests, SecurityContext, bytes};
use super::network::Network;
use super::pod::Pod;
use super::{Shared, spawner};

/// The claims of a set.
pub struct Claims {
    directory: PathBuf,
    /// Claims with a file system of their own, of this many bytes.
    limits: Mutex<BTreeMap<String, u64>>,
    storage: Storage,
    /// Claims whose volume has or had the fault; a new volume is sound.
    faulty: Mutex<BTreeSet<String>>,
}

impl Claims {
    pub fn new(directory: PathBuf, storage: Storage) -> Result<Claims> {
        std::fs::create_dir_all(&directory)?;
        std::fs::create_dir_all(directory.with_file_name("volume-images"))?;
        Ok(Claims { directory, limits: Mutex::default(), storage, faulty: Mutex::default() })
    }

    /// From now on a new volume for this claim holds no more than `bytes`.
    pub fn limit(&self, claim: &str, bytes: u64) {
        self.limits.lock().expect("limits").insert(claim.to_owned(), bytes);
    }

    /// The names of all claims.
    pub fn names(&self) -> Result<Vec<String>> {
        let entries = std::fs::read_dir(&self.directory)?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    /// The path of a claim's volume for the test process. A limited one is mounted only for the cluster.
    pub fn path(&self, claim: &str, network: &Network) -> PathBuf {
        let path = self.directory.join(claim);
        if self.is_mounted(claim) { seen_inside(network, &path) } else { path }
    }

    /// Makes a claim's volume if it is missing; the group may write, as with `fsGroup`. An existing one may belong to
    /// another group at its root. Then the group gets it with all its content, as with `OnRootMismatch`.
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
        self.mount(claim, network)?;
        let seen = self.path(claim, network);
        give(&seen, user)?;
        if self.storage.has_own_directories {
            provide_own_directories(&seen)?;
        }
        if let Some(fault) = self.fault_of(claim)
            && self.faulty.lock().expect("faulty claims").insert(claim.to_owned())
        {
            match fault {
                Fault::ReadOnly => inside(network, &["mount", "-o", "remount,ro"], &path)?,
                Fault::Full => fill(&seen.join(FILLER))?,
            }
        }
        Ok(path)
    }

    /// Ends the fault.
    pub fn mend(&self, claim: &str, network: &Network) -> Result<()> {
        match self.fault_of(claim) {
            Some(Fault::ReadOnly) => inside(network, &["mount", "-o", "remount,rw"], &self.directory.join(claim)),
            // Like a claim that is enlarged.
            Some(Fault::Full) => {
                let size = format!("remount,size={SIZE}");
                inside(network, &["mount", "-o", &size], &self.directory.join(claim))
            }
            None => bail!("{claim} has no fault"),
        }
    }

    /// A fault hits the first replica's volumes.
    fn fault_of(&self, claim: &str) -> Option<Fault> {
        self.storage.fault.filter(|_| claim.ends_with("-1"))
    }

    /// Whether the claim's volume is a file system of its own.
    fn is_mounted(&self, claim: &str) -> bool {
        self.limits.lock().expect("limits").contains_key(claim)
            || self.storage.kind != Kind::Directory
            || self.fault_of(claim).is_some()
    }

    /// If the volume is a file system of its own, makes and mounts it, only for the cluster.
    fn mount(&self, claim: &str, network: &Network) -> Result<()> {
        let path = self.directory.join(claim);
        let limit = self.limits.lock().expect("limits").get(claim).copied();
        match self.storage.kind {
            Kind::Made(program) if limit.is_none() => {
                let image = self.image(claim);
                std::fs::File::create(&image)?.set_len(SIZE)?;
                spawner::run(Command::new(program).args(["-q", "-F"]).arg(&image))?;
                let image = image.to_string_lossy().into_owned();
                inside(network, &["mount", "-o", "loop", &image], &path)
            }
            _ if self.is_mounted(claim) => {
                let is_full = self.fault_of(claim) == Some(Fault::Full)
                    && !self.faulty.lock().expect("faulty claims").contains(claim);
                let size = format!("size={}", limit.unwrap_or(if is_full { FULL } else { SIZE }));
                inside(network, &["mount", "-t", "tmpfs", "-o", &size, "tmpfs"], &path)
            }
            _ => Ok(()),
        }
    }

    /// The file behind a claim's file system.
    fn image(&self, claim: &str) -> PathBuf {
        self.directory.with_file_name("volume-images").join(claim)
    }

    /// The speed limits of the existing volumes.
    pub fn disk_limits(&self, network: &Network) -> Result<Vec<Limit>> {
        let Some(operations) = self.storage.operations else { return Ok(Vec::new()) };
        let device = |claim: &String| -> Result<Limit> {
            let device = std::fs::metadata(self.path(claim, network))?.dev();
            let device = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
            Ok(Limit::Operations(device, operations))
        };
        self.names()?.iter().map(device).collect()
    }

    /// Deletes a claim with its volume.
    pub fn delete(&self, claim: &str, network: &Network) -> Result<()> {
        let path = self.directory.join(claim);
        if self.is_mounted(claim) {
            inside(network, &["umount"], &path)?;
            let _ = std::fs::remove_file(self.image(claim));
        }
        std::fs::remove_dir_all(&path).with_context(|| format!("deleting the volume {claim}"))
    }
}

/// The file that fills a volume.
const FILLER: &str = "another-programs-data";

/// Bytes of a full volume: they are of the machine's memory.
const FULL: u64 = 1 << 20;

fn fill(path: &Path) -> Result<()> {
    let file = std::fs::File::create(path)?;
    let space = rustix::fs::fstatvfs(&file)?;
    Ok(rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, space.f_bavail * space.f_frsize)?)
}

/// Storage's usual entries in the root of each volume. They belong to root, and the set's user cannot write to them.
fn provide_own_directories(root: &Path) -> Result<()> {
    for (name, mode) in [("lost+found", 0o700), (".snapshot", 0o555), (".Trash-0", 0o700)] {
        let path = root.join(name);
        std::fs::create_dir(&path)?;
        chown(&path, Some(0), Some(0))?;
        rustix::fs::chmod(&path, mode.into())?;
    }
    Ok(())
}

/// Runs a command on a path among the cluster's mounts.
fn inside(network: &Network, words: &[&str], place: &Path) -> Result<()> {
    let mut command = Command::new("nsenter");
    command.args(["-t", &network.pid().to_string(), "-m", "--"]).args(words).arg(place);
    spawner::run(&mut command)?;
    Ok(())
}

/// Makes the volumes that live and die with a pod, and the directories that `subPath`s name.
pub fn provide_for_pod(pod: &Pod, shared: &Shared, pod_directory: &Path) -> Result<()> {
    let spec = pod.spec();
    for volume in &spec.volumes {
        let path = pod_directory.join(&volume.name);
        std::fs::create_dir_all(&path)?;
        if let Some(empty) = &volume.empty_dir {
            provide_empty(empty, &path, &spec.security_context, &shared.network)?;
            continue;
        }
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

/// In the machine's memory, mounted only for the cluster, and limited in size.
fn provide_empty(empty: &EmptyDir, path: &Path, user: &SecurityContext, network: &Network) -> Result<()> {
    if let Some(limit) = &empty.size_limit {
        let size = format!("size={}", bytes(limit)?);
        inside(network, &["mount", "-t", "tmpfs", "-o", &size, "tmpfs"], path)?;
    }
    give(&seen_inside(network, path), user)
}

/// The path of a pod's volume for the test process.
pub fn seen_inside(network: &Network, path: &Path) -> PathBuf {
    Path::new(&format!("/proc/{}/root", network.pid())).join(path.strip_prefix("/").expect("absolute"))
}

/// Removes the volumes that lived with a pod.
pub fn remove_of_pod(pod: &Pod, network: &Network, pod_directory: &Path) {
    for volume in pod.spec().volumes.iter().filter(|volume| volume.empty_dir.is_some()) {
        let _ = inside(network, &["umount", "--lazy"], &pod_directory.join(&volume.name));
    }
    let _ = std::fs::remove_dir_all(pod_directory);
}

/// Makes a missing directory of a `subPath`, as kubelet does at its container's start.
pub fn provide_sub_path(volume: &Path, sub_path: &str, user: &SecurityContext) -> Result<()> {
    let path = volume.join(sub_path);
    if !path.exists() {
        std::fs::create_dir_all(&path)?;
        give(&path, user)?;
    }
    Ok(())
}

/// Writes a changed key of a Secret to its path in a pod.
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

/// Owned by root and the set's group.
fn write_key(path: &Path, text: &str, volume: &Volume, user: &SecurityContext) -> Result<()> {
    std::fs::write(path, text)?;
    chown(path, Some(0), Some(user.fs_group))?;
    let mode = volume.secret.as_ref().map_or(0o644, |secret| secret.default_mode);
    Ok(rustix::fs::chmod(path, mode.into())?)
}

fn contents(volume: &Volume, manifests: &Manifests, shared: &Shared) -> Result<BTreeMap<String, String>> {
    match (&volume.config_map, &volume.secret) {
        (Some(source), None) => {
            let found = manifests.config_maps.iter().find(|map| map.metadata.name == source.name);
            Ok(found.with_context(|| format!("no ConfigMap {}", source.name))?.data.clone())
        }
        (None, Some(source)) => {
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

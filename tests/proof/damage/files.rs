//! Damage to the files of a directory, in place, and its mending.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Damage, Victim, harm};

/// The damaged file, its original content, and the place of a file that is left out meanwhile.
pub struct Mending {
    files: Vec<(PathBuf, Vec<u8>)>,
    aside: Option<PathBuf>,
}

impl Mending {
    /// The damaged file.
    pub fn victim(&self) -> &Path {
        &self.files[0].0
    }

    /// Restores the files in place. A server with open files sees the restored content.
    pub fn mend(&self) -> Result<()> {
        if let Some(aside) = &self.aside {
            std::fs::rename(aside, self.victim())?;
        }
        for (path, bytes) in &self.files {
            write_in_place(path, bytes)?;
        }
        Ok(())
    }
}

/// Damages a file below a directory. A file that is left out moves to `aside`, another place of the same file system.
/// So a server that has it open gets the same file back.
pub fn damage(directory: &Path, victim: &Victim, damage: Damage, aside: Option<&Path>) -> Result<Mending> {
    let mut of_class = Vec::new();
    for path in list(directory)? {
        let name = path.strip_prefix(directory)?.to_string_lossy().into_owned();
        if victim.class.has(&name) {
            of_class.push((path.clone(), std::fs::read(&path)?));
        }
    }
    of_class.sort();
    let count = of_class.len().max(1);
    let found = (0..of_class.len()).find_map(|step| {
        let (path, bytes) = &of_class[(victim.pick as usize + step) % count];
        let other = (1..count).map(|step| &of_class[(victim.pick as usize + step) % count]).find(|(_, of)| of != bytes);
        let harmed = harm(damage, victim, bytes, other.map(|(_, bytes)| bytes.as_slice()))?;
        Some(((path, bytes), harmed, other))
    });
    let ((path, bytes), harmed, other) =
        found.with_context(|| format!("no {} in {} that could be {damage}", victim.class, directory.display()))?;
    let mut mending = vec![(path.clone(), bytes.clone())];
    let is_left_out = harmed.file.is_none();
    match harmed.file {
        None => match aside {
            Some(aside) => std::fs::rename(path, aside)?,
            None => std::fs::remove_file(path)?,
        },
        Some(bytes) => write_in_place(path, &bytes)?,
    }
    if let (Some((path, before)), Some(bytes)) = (other, harmed.other) {
        mending.push((path.clone(), before.clone()));
        write_in_place(path, &bytes)?;
    }
    let aside = aside.filter(|_| is_left_out).map(Path::to_owned);
    Ok(Mending { files: mending, aside })
}

fn write_in_place(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    file.write_all(bytes)?;
    Ok(file.set_len(bytes.len() as u64)?)
}

/// All files below a directory.
pub fn list(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(list(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

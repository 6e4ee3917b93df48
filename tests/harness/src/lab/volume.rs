//! A volume with a data directory on it, or a volume that is the data directory; and its contents.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Lab;

/// The owner of the published files.
pub const OWNER: u32 = 999;

const LOST_AND_FOUND: &str = "lost+found";
const JOURNAL: &str = ".mysqlset.json";

/// The directory of a clone's stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Beside,
    Inside,
}

/// A volume, with its path for the lab's processes and its path for the test.
pub struct Volume {
    place: Place,
    path: PathBuf,
    seen: PathBuf,
}

impl Volume {
    /// Makes an empty one, without a file system of its own.
    pub fn new(lab: &Lab, name: &str, place: Place) -> Result<Volume> {
        let volume = Volume::at(lab, lab.path(name), place)?;
        std::fs::create_dir(&volume.seen)?;
        if place == Place::Inside {
            // As in the root of an ext4: it cannot be renamed.
            std::fs::create_dir(volume.seen.join(LOST_AND_FOUND))?;
        }
        Ok(volume)
    }

    /// The volume at this mount point.
    pub fn at(lab: &Lab, path: PathBuf, place: Place) -> Result<Volume> {
        Ok(Volume { place, seen: lab.seen(&path)?, path })
    }

    /// Deletes it.
    pub fn remove(self) -> Result<()> {
        Ok(std::fs::remove_dir_all(self.seen)?)
    }

    pub fn place(&self) -> Place {
        self.place
    }

    /// The path in `clone`'s arguments.
    pub fn data_dir(&self) -> PathBuf {
        self.in_data_dir(&self.path)
    }

    /// The path for the test.
    pub fn seen_data_dir(&self) -> PathBuf {
        self.in_data_dir(&self.seen)
    }

    /// The names in the data directory that a server could take for its own.
    pub fn data(&self) -> Result<Vec<String>> {
        let ours = |name: &String| name == LOST_AND_FOUND || name.starts_with(".mysqlset");
        Ok(names(&self.seen_data_dir())?.into_iter().filter(|name| !ours(name)).collect())
    }

    /// The names in the stage that are still to be moved.
    pub fn staged(&self) -> Result<Vec<String>> {
        Ok(names(&self.stage().join("data"))?.into_iter().filter(|name| name != JOURNAL).collect())
    }

    /// The directory of a staged copy, as the test sees it.
    pub fn staged_data(&self) -> PathBuf {
        self.stage().join("data")
    }

    /// The state in the data directory's journal.
    pub fn state(&self) -> Result<Option<String>> {
        journal(&self.seen_data_dir())?.as_ref().map(state_in).transpose()
    }

    /// The state in the journal of a clone under way, or in that of its result, and the record of the received backup.
    pub fn clone_in_words(&self) -> Result<Option<(String, Value)>> {
        let journal = match journal(&self.seen_data_dir())? {
            Some(journal) => Some(journal),
            None => journal(&self.stage())?,
        };
        let record = |journal: Value| {
            let mut clone = journal["clone"].clone();
            // The position may be found later.
            clone.as_object_mut().map(|clone| clone.remove("position"));
            Ok((state_in(&journal)?, clone))
        };
        journal.map(record).transpose()
    }

    /// Of our files only the journal is left, and everything belongs to the server.
    pub fn demand_order(&self) -> Result<()> {
        let on_volume: Vec<String> = names(&self.seen)?.into_iter().filter(|name| name != LOST_AND_FOUND).collect();
        if self.place == Place::Beside {
            ensure!(on_volume == ["mysql"], "on the volume: {on_volume:?}");
        }
        let in_data_dir = names(&self.seen_data_dir())?;
        let left: Vec<&String> = in_data_dir.iter().filter(|name| name.starts_with(".mysqlset")).collect();
        ensure!(left == [JOURNAL], "ours in the data directory: {left:?}");
        for name in in_data_dir.iter().filter(|name| *name != LOST_AND_FOUND) {
            demand_ownership(&self.seen_data_dir().join(name))?;
        }
        Ok(())
    }

    fn stage(&self) -> PathBuf {
        self.seen.join(match self.place {
            Place::Beside => ".mysqlset-mysql-stage",
            Place::Inside => ".mysqlset-stage",
        })
    }

    fn in_data_dir(&self, volume: &Path) -> PathBuf {
        match self.place {
            Place::Beside => volume.join("mysql"),
            Place::Inside => volume.to_owned(),
        }
    }
}

fn demand_ownership(path: &Path) -> Result<()> {
    let metadata = path.symlink_metadata()?;
    let owner = (metadata.uid(), metadata.gid());
    ensure!(owner == (OWNER, OWNER), "{} belongs to {owner:?}", path.display());
    if metadata.is_dir() {
        names(path)?.iter().try_for_each(|name| demand_ownership(&path.join(name)))?;
    }
    Ok(())
}

fn journal(directory: &Path) -> Result<Option<Value>> {
    let path = directory.join(JOURNAL);
    let text = match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.with_context(|| format!("reading {}", path.display()))?,
    };
    serde_json::from_slice(&text).map(Some).with_context(|| format!("{} is no journal", path.display()))
}

fn state_in(journal: &Value) -> Result<String> {
    Ok(journal["state"].as_str().context("a journal without a state")?.to_owned())
}

/// Returns no names if the directory is missing.
fn names(directory: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("listing {}", directory.display()))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

//! Makes the places that the server's configuration names below its data directory, and moves the matching files there.
//!
//! The backup tools lay InnoDB's system tablespace, undo tablespaces and log, and Aria's log, at the top of a backup,
//! wherever the donor has them (seen with mariadb-backup 10.11 and 11.8). A server looks for them in its configured
//! places. So they are moved as the tools' `--copy-back` would move them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::contents::Contents;
use super::ownership::DIRECTORY_MODE;
use crate::model::event::info;
use crate::model::exit::Reason;
use crate::server::config_files::{Elsewhere, Place, ServerConfig};
use crate::sys::disk::disk_error;
use crate::sys::held_directory::Spot;

/// Refuses a configuration that would stop every server from starting on a copy, and names the setting.
pub fn check(config: &ServerConfig, data_dir: &Path) -> Result<()> {
    for named in config.places(data_dir) {
        let Place::Outside(outside) = &named.place else { continue };
        let refuse = |why: &str| Err(Reason::Refused.error(format!("{}: {why}", named.setting)));
        match named.elsewhere {
            Elsewhere::Refused => {
                return refuse(
                    "the server would look for data outside its data directory, where a clone brings none: name a \
                     place in the data directory",
                );
            }
            Elsewhere::MustBeThere if !outside.is_dir() => {
                return refuse(
                    "the server needs this directory to start, and it is missing here: name a place in the data \
                     directory, or mount it in this container too",
                );
            }
            Elsewhere::MustBeThere | Elsewhere::Fine => {}
        }
    }
    Ok(())
}

/// What a start has placed in a copy. The next start may have another configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// Names at the top, and where they were moved to.
    moved: BTreeSet<(String, PathBuf)>,
    /// Created directories, each before those in it.
    made: BTreeSet<PathBuf>,
}

impl Placed {
    pub fn is_nothing(&self) -> bool {
        self.moved.is_empty() && self.made.is_empty()
    }

    /// The plan of [`make`] for a copy. It must be on disk first.
    pub fn plan(config: &ServerConfig, data_dir: &Path, staged: &Spot) -> Result<Placed> {
        let mut planned = Placed::default();
        for (name, place) in moves(config, data_dir, &Contents::of(staged)?) {
            planned.made.extend(place.parent().into_iter().flat_map(with_parents));
            planned.moved.insert((name, place));
        }
        for named in config.places(data_dir) {
            if let Place::Below(below) = &named.place {
                planned.made.extend(with_parents(below));
            }
        }
        planned.made.retain(|directory| !staged.join(directory).exists());
        Ok(planned)
    }

    /// Adds more; returns whether that was news.
    pub fn add(&mut self, more: Placed) -> bool {
        let known = (self.moved.len(), self.made.len());
        self.moved.extend(more.moved);
        self.made.extend(more.made);
        known != (self.moved.len(), self.made.len())
    }

    /// Whether a server of this configuration finds everything in its configured place. `copy` holds the names that
    /// stayed at the top.
    pub fn fits(&self, config: &ServerConfig, data_dir: &Path, copy: &Spot) -> Result<bool> {
        let looked_for = |(name, place): &(String, PathBuf)| place_of(config, data_dir, name).as_ref() == Some(place);
        let names: BTreeSet<&String> = self.moved.iter().map(|(name, _)| name).collect();
        let is_one_place_each = names.len() == self.moved.len();
        let is_all_placed = moves(config, data_dir, &Contents::of(copy)?).is_empty();
        Ok(is_one_place_each && is_all_placed && self.moved.iter().all(looked_for))
    }
}

/// A directory below the data directory and all above it.
fn with_parents(directory: &Path) -> impl Iterator<Item = PathBuf> {
    directory.ancestors().filter(|directory| *directory != Path::new("")).map(Path::to_owned)
}

/// Makes the directories, and moves the matching files into them. Repeating it is harmless.
pub fn make(config: &ServerConfig, data_dir: &Path, staged: &Spot) -> Result<()> {
    for named in config.places(data_dir) {
        if let Place::Below(below) = &named.place {
            make_directory(staged, below, &named.setting)?;
        }
    }
    for (name, place) in moves(config, data_dir, &Contents::of(staged)?) {
        move_to(staged, &name, &place)?;
    }
    Ok(())
}

/// Makes only the directories, in a copy that is being published, and returns all of them. Where a copy moves one name after
/// the other, each directory is made in the part that holds its top name.
pub fn make_directories(
    config: &ServerConfig,
    data_dir: &Path,
    data: &Spot,
    staged: &Spot,
    is_moved_by_names: bool,
) -> Result<Vec<Spot>> {
    let mut all = Vec::new();
    for named in config.places(data_dir) {
        let Place::Below(below) = &named.place else { continue };
        let Some(top) = below.components().next() else { continue };
        let is_published = is_moved_by_names && (!staged.exists() || data.join(top).exists());
        let copy = if is_published { data } else { staged };
        make_directory(copy, below, &named.setting)?;
        all.extend(with_parents(below).map(|directory| copy.join(directory)));
    }
    Ok(all)
}

/// Moves everything back to the top, including files that a server made there. The donor's list of tables looks for
/// them at the top, and so does the next configuration. Empty directories are removed.
pub fn gather(placed: &Placed, staged: &Spot) -> Result<()> {
    for (name, place) in &placed.moved {
        take_back(staged, place, name)?;
    }
    for directory in placed.made.iter().rev() {
        let path = staged.join(directory);
        if !path.is_dir() {
            continue;
        }
        for name in Contents::of(&path)?.foreign_names().filter(|name| kind_of(name).is_some()) {
            take_back(staged, &directory.join(name), name)?;
        }
        // A directory with more content stays.
        let _ = path.remove_directory();
    }
    Ok(())
}

fn take_back(staged: &Spot, place: &Path, name: &str) -> Result<()> {
    match staged.join(place).exists() {
        true => rename_over_nothing(staged, place, Path::new(name)),
        false => Ok(()),
    }
}

/// Names at a copy's top, and where they belong.
fn moves(config: &ServerConfig, data_dir: &Path, contents: &Contents) -> Vec<(String, PathBuf)> {
    let names = contents.foreign_names().map(str::to_owned);
    let placed = names.filter_map(|name| Some((place_of(config, data_dir, &name)?, name)));
    placed.map(|(place, name)| (name, place)).collect()
}

/// Where a name of a copy's top belongs; `None` where that is the top.
fn place_of(config: &ServerConfig, data_dir: &Path, name: &str) -> Option<PathBuf> {
    let home = config.data_file_places(data_dir).into_iter().find(|(file, _)| is_called(file, name));
    let place = match home {
        Some((_, home)) => home,
        None => config.place(kind_of(name)?, data_dir),
    };
    match place {
        Place::Below(below) if below != Path::new("") => Some(below.join(name)),
        // An outside place was refused before the copy began.
        Place::Below(_) | Place::Outside(_) => None,
    }
}

/// The setting that locates files of this name, for fixed names.
fn kind_of(name: &str) -> Option<&'static str> {
    let numbered = |start: &str| name.strip_prefix(start).is_some_and(is_number);
    if numbered("ib_logfile") || name == "#innodb_redo" {
        Some("innodb_log_group_home_dir")
    } else if numbered("undo") || numbered("undo_") {
        Some("innodb_undo_directory")
    } else if numbered("aria_log.") || name == "aria_log_control" {
        Some("aria_log_dir_path")
    } else {
        None
    }
}

fn is_called(file: &str, name: &str) -> bool {
    Path::new(file).file_name() == Some(name.as_ref())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Makes one directory, and those above it, as long as the name is free.
fn make_directory(staged: &Spot, below: &Path, setting: &str) -> Result<()> {
    let mut directory = staged.clone();
    for component in below {
        directory = directory.join(component);
        match directory.exists() {
            true if directory.is_dir() => continue,
            true => {
                let what = format!("{setting}: the copy has a file {}, where a directory is needed", below.display());
                return Err(Reason::Refused.error(what));
            }
            false => {}
        }
        directory
            .make_directory(DIRECTORY_MODE)
            .map_err(|error| disk_error(error, format!("making the directory {directory}")))?;
        info!(PlaceMade, directory = %below.display(), setting, "made a configured directory");
    }
    Ok(())
}

fn move_to(staged: &Spot, name: &str, place: &Path) -> Result<()> {
    if let Some(directory) = place.parent() {
        make_directory(staged, directory, name)?;
    }
    rename_over_nothing(staged, Path::new(name), place)?;
    info!(PlaceMoved, file = name, place = %place.display(), "moved to its configured place");
    Ok(())
}

fn rename_over_nothing(staged: &Spot, name: &Path, place: &Path) -> Result<()> {
    let (from, to) = (staged.join(name), staged.join(place));
    from.rename_over_nothing(&to).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Reason::Refused.error(format!(
            "the copy has both {} and {}: only one of them can be right",
            name.display(),
            place.display()
        )),
        _ => disk_error(error, format!("moving {from} to {to}")),
    })
}

#[cfg(test)]
mod tests;

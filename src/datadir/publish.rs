//! Publishing: a prepared copy becomes the data directory, by renames inside one mount.
//!
//! Each line here may be the last one that runs. The comments beside the steps say what the next start finds.

use std::collections::BTreeSet;

use anyhow::Result;

use super::configured_places::Placed;
use super::contents::Contents;
use super::journal::{Journal, State};
use super::layout::{Layout, Place};
use super::ownership::Ownership;
use super::stage;
use crate::model::exit::Reason;
use crate::sys::disk::disk_error;
use crate::sys::held_directory::Spot;

/// The images' entrypoints and the tutorial's script take it as the sign of a complete data directory.
const LAST_TO_MOVE: &str = "mysql";

/// Moves the staged copy into the data directory, and exchanges it with the old data if it `replaces` them. May be
/// called again after any interruption, with the journal in state `publishing`.
pub fn publish(layout: &Layout, prepared: &Journal, ownership: Ownership, replaces: bool) -> Result<Journal> {
    // A killed rehearsal gave the copy's files second names.
    stage::keep_copy_only(layout)?;
    // Lessons from its prepare end with it.
    let mut publishing = prepared.entering(State::Publishing);
    (publishing.received_log, publishing.memory_halvings) = (None, 0);
    if prepared.state != State::Publishing {
        publishing.names = Contents::of(&layout.staged_data())?.foreign_names().map(str::to_owned).collect();
    }
    let mut published = publishing.entering(State::Published);
    (published.placed, published.names) = (Placed::default(), BTreeSet::new());
    match layout.place {
        Place::Beside => publish_beside(layout, &publishing, &published, ownership, replaces)?,
        Place::Inside => publish_inside(layout, &publishing, &published, ownership)?,
    }
    Ok(published)
}

/// A name of a copy that is being published, and is missing from every place where a start could have left it.
pub fn missing(layout: &Layout, publishing: &Journal) -> Option<String> {
    let mut places = vec![layout.staged_data()];
    places.extend((layout.place == Place::Inside).then(|| layout.data()));
    let is_there = |name: &String| places.iter().any(|place| place.join(name).exists());
    let copy_is_there = places.iter().any(Spot::is_dir);
    match publishing.names.iter().find(|name| !is_there(name)) {
        Some(name) => Some(name.clone()),
        // Earlier versions recorded no names.
        None => (!copy_is_there).then(|| layout.staged_data().to_string()),
    }
}

/// Prepared, journal "preparing" → prepare again. "publishing" → here again. Renamed → the journal in the data
/// directory says "published", and the stage is a leftover that the next start removes.
fn publish_beside(
    layout: &Layout,
    publishing: &Journal,
    published: &Journal,
    ownership: Ownership,
    replaces: bool,
) -> Result<()> {
    let (staged, data) = (layout.staged_data(), layout.data());
    sync_everything(&staged)?;
    publishing.write(&layout.stage())?;
    ownership.give_tree(&staged)?;
    published.write_for(&staged, ownership)?;
    sync_everything(&staged)?;
    // After the exchange, the old data lie in the stage and are discarded with it: by the next start, if this one ends
    // here.
    let moved = if replaces { staged.exchange_with(&data) } else { staged.rename(&data) };
    moved.map_err(|error| moving(&staged, &data, error))?;
    sync_directory(&layout.stage())?;
    sync_directory(layout.workplace())?;
    stage::discard(layout)
}

/// Journal "publishing" → moves the entries that are still staged. Empty stage → journal "published".
fn publish_inside(layout: &Layout, publishing: &Journal, published: &Journal, ownership: Ownership) -> Result<()> {
    let (staged, data) = (layout.staged_data(), layout.data());
    if staged.exists() {
        sync_everything(&staged)?;
        publishing.write_for(&data, ownership)?;
        ownership.give_tree(&staged)?;
        sync_everything(&staged)?;
        move_entries(&staged, &data)?;
    }
    stage::discard(layout)?;
    published.write_for(&data, ownership)
}

/// Refuses to overwrite: each name of this stage moves once, so an existing entry came from elsewhere.
fn move_entries(from: &Spot, to: &Spot) -> Result<()> {
    let contents = Contents::of(from)?;
    let (last, first): (Vec<&str>, Vec<&str>) = contents.foreign_names().partition(|name| *name == LAST_TO_MOVE);
    for names in [first, last] {
        for name in names {
            let (source, target) = (from.join(name), to.join(name));
            source.rename_over_nothing(&target).map_err(|error| moving(&source, &target, error))?;
        }
        sync_directory(from)?;
        sync_directory(to)?;
    }
    Ok(())
}

fn sync_everything(directory: &Spot) -> Result<()> {
    directory.sync_file_system().map_err(|error| disk_error(error, format!("syncing the file system of {directory}")))
}

fn sync_directory(directory: &Spot) -> Result<()> {
    directory.sync().map_err(|error| disk_error(error, format!("syncing {directory}")))
}

fn moving(from: &Spot, to: &Spot, error: std::io::Error) -> anyhow::Error {
    match error.kind() {
        std::io::ErrorKind::AlreadyExists | std::io::ErrorKind::DirectoryNotEmpty => Reason::HalfMade
            .error(format!("publishing {from}: {to} already exists and is foreign: move it away and start again")),
        _ => disk_error(error, format!("moving {from} to {to}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datadir::whole_or_half::{self, Found};
    use crate::server::config_files::ServerConfig;

    fn look(layout: &Layout) -> Result<Found> {
        whole_or_half::look(layout, || Ok(ServerConfig::default()))
    }

    fn staged(place: Place) -> (tempfile::TempDir, Layout, Ownership, Journal) {
        let volume = tempfile::tempdir().unwrap();
        let layout = match place {
            Place::Beside => Layout::at(&volume.path().join("mysql"), place),
            Place::Inside => Layout::at(volume.path(), place),
        };
        let owner = crate::datadir::ownership::Owner { uid: 999, gid: 999 };
        let ownership = layout.ownership(Some(owner)).unwrap();
        let data = stage::open(&layout, ownership, &Journal::receiving(0)).unwrap().path();
        std::fs::create_dir(data.join("mysql")).unwrap();
        for name in ["ibdata1", "aria_log.00000001", "mysql/user.frm"] {
            std::fs::write(data.join(name), name).unwrap();
        }
        (volume, layout, ownership, Journal::new(State::Prepared))
    }

    fn names(directory: &std::path::Path) -> Vec<String> {
        Contents::of(directory).unwrap().foreign_names().map(str::to_owned).collect()
    }

    #[test]
    fn one_rename_publishes_beside() {
        let (volume, layout, ownership, journal) = staged(Place::Beside);
        std::fs::create_dir(&layout.data_dir).unwrap();
        publish(&layout, &journal, ownership, false).unwrap();
        assert_eq!(names(&layout.data_dir), ["aria_log.00000001", "ibdata1", "mysql"]);
        assert_eq!(Contents::of(volume.path()).unwrap().foreign_names().collect::<Vec<_>>(), ["mysql"]);
        assert!(!layout.stage().exists());
        assert!(matches!(look(&layout).unwrap(), Found::Settled(journal) if journal.state == State::Published));
    }

    #[test]
    fn entries_move_inside_and_an_interrupted_move_is_finished() {
        let (_volume, layout, ownership, journal) = staged(Place::Inside);
        Journal::new(State::Publishing).write(&layout.data_dir).unwrap();
        std::fs::rename(layout.staged_data().path().join("ibdata1"), layout.data_dir.join("ibdata1")).unwrap();
        assert!(matches!(look(&layout).unwrap(), Found::Interrupted(_)));
        publish(&layout, &journal, ownership, false).unwrap();
        assert_eq!(names(&layout.data_dir), ["aria_log.00000001", "ibdata1", "mysql"]);
        assert!(!layout.stage().exists());
    }

    /// The next start skipped the rehearsal, and refused the copy for ever: its files had second names.
    #[test]
    fn a_copy_is_published_after_a_killed_rehearsal() {
        for place in [Place::Beside, Place::Inside] {
            let (_volume, layout, ownership, journal) = staged(place);
            let (data, shadow) = (layout.staged_data().path(), layout.stage().path().join("shadow"));
            std::fs::create_dir_all(shadow.join("mysql")).unwrap();
            for name in ["ibdata1", "mysql/user.frm"] {
                std::fs::hard_link(data.join(name), shadow.join(name)).unwrap();
            }
            publish(&layout, &journal, ownership, false).unwrap();
            assert_eq!(names(&layout.data_dir), ["aria_log.00000001", "ibdata1", "mysql"], "{place:?}");
        }
    }

    #[test]
    fn a_copy_replaces_a_broken_replica_in_one_step() {
        let (volume, layout, ownership, journal) = staged(Place::Beside);
        std::fs::create_dir(&layout.data_dir).unwrap();
        std::fs::write(layout.data_dir.join("old"), "").unwrap();
        Journal::new(State::Replicating).write(&layout.data_dir).unwrap();
        publish(&layout, &journal, ownership, true).unwrap();
        assert_eq!(names(&layout.data_dir), ["aria_log.00000001", "ibdata1", "mysql"]);
        assert_eq!(Contents::of(volume.path()).unwrap().foreign_names().collect::<Vec<_>>(), ["mysql"]);
        assert!(!layout.stage().exists());
    }

    #[test]
    fn publishing_never_overwrites() {
        let (_volume, layout, ownership, journal) = staged(Place::Inside);
        std::fs::write(layout.data_dir.join("ibdata1"), "somebody else's").unwrap();
        assert!(publish(&layout, &journal, ownership, false).is_err());
        assert_eq!(std::fs::read(layout.data_dir.join("ibdata1")).unwrap(), b"somebody else's");

        let (_volume, layout, ownership, journal) = staged(Place::Beside);
        std::fs::create_dir(&layout.data_dir).unwrap();
        std::fs::write(layout.data_dir.join("ibdata1"), "somebody else's").unwrap();
        assert!(publish(&layout, &journal, ownership, false).is_err());
        assert_eq!(std::fs::read(layout.data_dir.join("ibdata1")).unwrap(), b"somebody else's");
    }
}

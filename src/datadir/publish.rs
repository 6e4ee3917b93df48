//! Publishing: a prepared copy becomes the data directory, by renames inside one mount.
//!
//! Each line here may be the last one that runs. What the next start sees is written beside the steps.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::contents::Contents;
use super::journal::{self, Journal, State};
use super::layout::{Layout, Place};
use super::named_places::Placed;
use super::ownership::Ownership;
use super::stage;
use crate::durable;
use crate::exit::{self, Reason};

/// What the images' entrypoints and the tutorial's script take as the sign of a complete data directory.
const LAST_TO_MOVE: &str = "mysql";

/// Moves the staged copy into the data directory, in the place of what is there where it `replaces` that. May be called
/// again after any interruption, with the journal that says `publishing`.
pub fn publish(layout: &Layout, prepared: &Journal, ownership: Ownership, replaces: bool) -> Result<Journal> {
    // What was learnt of its prepare is of no more use.
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

/// The name of a copy that is being published, and is in no place any more where a start could have left it.
pub fn missing(layout: &Layout, publishing: &Journal) -> Option<String> {
    let mut places = vec![layout.staged_data()];
    places.extend((layout.place == Place::Inside).then(|| layout.data_dir.clone()));
    let is_there = |name: &String| places.iter().any(|place| place.join(name).symlink_metadata().is_ok());
    let copy_is_there = places.iter().any(|place| place.is_dir());
    match publishing.names.iter().find(|name| !is_there(name)) {
        Some(name) => Some(name.clone()),
        // Earlier versions wrote no names down.
        None => (!copy_is_there).then(|| layout.staged_data().display().to_string()),
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
    let staged = layout.staged_data();
    sync_everything(&staged)?;
    publishing.write(&layout.stage())?;
    ownership.give_tree(&staged)?;
    published.write(&staged)?;
    ownership.give(&staged.join(journal::FILE_NAME))?;
    sync_everything(&staged)?;
    // Exchanged, what was there is staged, and thrown away with the stage: by the next start, if this one ends here.
    let flags = if replaces { RenameFlags::EXCHANGE } else { RenameFlags::empty() };
    renameat_with(CWD, &staged, CWD, &layout.data_dir, flags)
        .map_err(|error| moving(&staged, &layout.data_dir, error.into()))?;
    sync_directory(&layout.stage())?;
    sync_directory(layout.workplace())?;
    stage::discard(layout)
}

/// Journal "publishing" → moves what is still staged. Nothing staged → journal "published".
fn publish_inside(layout: &Layout, publishing: &Journal, published: &Journal, ownership: Ownership) -> Result<()> {
    let staged = layout.staged_data();
    if staged.exists() {
        sync_everything(&staged)?;
        publishing.write(&layout.data_dir)?;
        ownership.give(&layout.data_dir.join(journal::FILE_NAME))?;
        ownership.give_tree(&staged)?;
        sync_everything(&staged)?;
        move_entries(&staged, &layout.data_dir)?;
    }
    stage::discard(layout)?;
    published.write(&layout.data_dir)?;
    ownership.give(&layout.data_dir.join(journal::FILE_NAME))?;
    // The giving too must outlast a power cut: the sidecar writes the journal next, as the server's user.
    sync_file(&layout.data_dir.join(journal::FILE_NAME))
}

fn move_entries(from: &Path, to: &Path) -> Result<()> {
    let contents = Contents::of(from)?;
    let (last, first): (Vec<&str>, Vec<&str>) = contents.foreign_names().partition(|name| *name == LAST_TO_MOVE);
    for names in [first, last] {
        for name in names {
            let (source, target) = (from.join(name), to.join(name));
            rename_over_nothing(&source, &target).map_err(|error| moving(&source, &target, error))?;
        }
        sync_directory(from)?;
        sync_directory(to)?;
    }
    Ok(())
}

/// Never over something: what is there already isn't from this stage, each name of which moves once. File systems
/// that don't know the flag are asked first; only we write there.
fn rename_over_nothing(source: &Path, target: &Path) -> std::io::Result<()> {
    match renameat_with(CWD, source, CWD, target, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL) if target.symlink_metadata().is_ok() => Err(Errno::EXIST.into()),
        Err(Errno::INVAL) => std::fs::rename(source, target),
        result => result.map_err(Into::into),
    }
}

fn sync_everything(directory: &Path) -> Result<()> {
    durable::sync_file_system(directory)
        .map_err(|error| exit::disk_error(error, format!("syncing the file system of {}", directory.display())))
}

fn sync_file(path: &Path) -> Result<()> {
    durable::sync_directory(path).map_err(|error| exit::disk_error(error, format!("syncing {}", path.display())))
}

fn sync_directory(directory: &Path) -> Result<()> {
    durable::sync_directory(directory)
        .map_err(|error| exit::disk_error(error, format!("syncing {}", directory.display())))
}

fn moving(from: &Path, to: &Path, error: std::io::Error) -> anyhow::Error {
    match error.kind() {
        std::io::ErrorKind::AlreadyExists | std::io::ErrorKind::DirectoryNotEmpty => Reason::HalfMade.error(format!(
            "publishing {}: {} is there already and not ours: move it away and start again",
            from.display(),
            to.display()
        )),
        _ => exit::disk_error(error, format!("moving {} to {}", from.display(), to.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datadir::state::{self, Found};
    use crate::server_config::ServerConfig;

    fn look(layout: &Layout) -> Result<Found> {
        state::look(layout, || Ok(ServerConfig::default()))
    }

    fn staged(place: Place) -> (tempfile::TempDir, Layout, Ownership, Journal) {
        let volume = tempfile::tempdir().unwrap();
        let layout = match place {
            Place::Beside => Layout { data_dir: volume.path().join("mysql"), place },
            Place::Inside => Layout { data_dir: volume.path().to_owned(), place },
        };
        let owner = crate::settings::Owner { uid: 999, gid: 999 };
        let ownership = Ownership::decide(&layout, Some(owner)).unwrap();
        let data = stage::open(&layout, ownership, &Journal::receiving(0)).unwrap();
        std::fs::create_dir(data.join("mysql")).unwrap();
        for name in ["ibdata1", "aria_log.00000001", "mysql/user.frm"] {
            std::fs::write(data.join(name), name).unwrap();
        }
        (volume, layout, ownership, Journal::new(State::Prepared))
    }

    fn names(directory: &Path) -> Vec<String> {
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
    fn entries_move_inside_and_an_interruption_is_finished() {
        let (_volume, layout, ownership, journal) = staged(Place::Inside);
        Journal::new(State::Publishing).write(&layout.data_dir).unwrap();
        std::fs::rename(layout.staged_data().join("ibdata1"), layout.data_dir.join("ibdata1")).unwrap();
        assert!(matches!(look(&layout).unwrap(), Found::Interrupted(_)));
        publish(&layout, &journal, ownership, false).unwrap();
        assert_eq!(names(&layout.data_dir), ["aria_log.00000001", "ibdata1", "mysql"]);
        assert!(!layout.stage().exists());
    }

    #[test]
    fn a_copy_takes_the_place_of_a_broken_replica_in_one_step() {
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

//! The stage: where a backup is received and prepared, and from where it is published or discarded.

use anyhow::Result;
use rustix::fs::FileType;

use super::contents::Contents;
use super::journal::{Journal, State};
use super::layout::{Layout, Place};
use super::ownership::{DIRECTORY_MODE, Ownership};
use crate::model::event::{info, warn};
use crate::model::exit::Reason;
use crate::sys::disk::disk_error;
use crate::sys::held_directory::{Spot, kind_of};

/// Discards the remains of an earlier attempt and makes an empty stage. The journal in state `receiving` is on disk
/// before this returns, so it precedes the first byte of a backup. Only we may enter the stage: its files get their
/// owner when they are published.
///
/// The earlier journal is removed first, so that it stops vouching for data that are being discarded. Both steps work
/// on a full volume, since the discarded data may be what fills it.
pub fn open(layout: &Layout, ownership: Ownership, receiving: &Journal) -> Result<Spot> {
    Journal::remove(&layout.journal_of_clone())?;
    discard(layout)?;
    layout.make_stage().map_err(|error| disk_error(error, format!("making the directory {}", layout.named_stage())))?;
    match layout.place {
        Place::Beside => receiving.write(&layout.stage())?,
        Place::Inside => receiving.write_for(&layout.data(), ownership)?,
    }
    let data = layout.staged_data();
    make_directory(&data)?;
    sync(layout.workplace())?;
    Ok(data)
}

/// Removes impostors of the stage: anything but a directory, and, as root, a directory that another user may have made.
pub fn remove_impostor(layout: &Layout) -> Result<()> {
    let named = layout.named_stage();
    let removing = |spot: &Spot| {
        let what = format!("removing {spot}");
        move |error| disk_error(error, what)
    };
    if let Ok(found) = named.look() {
        if !named.is_dir() {
            warn!(StageImpostor, path = %named, "removing an entry of the wrong type under the stage's name");
            named.remove_if_there().map_err(removing(&named))?;
        } else if !super::held_stage::counts(&found) && is_being_published_inside(layout) {
            layout.adopt_stage().map_err(|error| disk_error(error, format!("taking {named}")))?;
        } else if !super::held_stage::counts(&found) {
            warn!(
                StageOfAnother,
                path = %named,
                user = found.st_uid,
                "removing a stage that another user than root made or may write to: its content is untrusted"
            );
            named.remove_tree().map_err(removing(&named))?;
        }
    }
    for spot in [layout.staged_data(), layout.staged_inventory()] {
        let is_impostor = spot.look().is_ok_and(|found| {
            let wanted = if spot.path().ends_with("data") { FileType::Directory } else { FileType::RegularFile };
            kind_of(&found) != wanted
        });
        if is_impostor {
            warn!(StageImpostor, path = %spot, "removing an entry of the wrong type in the stage");
            spot.remove_whatever_it_is().map_err(removing(&spot))?;
        }
    }
    Ok(())
}

/// While a copy is being published inside, part of it may be in the data directory, and the rest only here. Earlier
/// versions gave the stage to the server's user.
fn is_being_published_inside(layout: &Layout) -> bool {
    let data = layout.data();
    let is_publishing =
        || Journal::read(&data).is_ok_and(|journal| journal.is_some_and(|journal| journal.state == State::Publishing));
    // Servers no longer start on such a copy: it is moved, or refused.
    layout.place == Place::Inside && is_publishing() && Contents::of(&data).is_ok_and(|contents| !contents.is_empty())
}

/// Removes the stage with its content. In the layout "beside" its journal goes first, since half of a backup is
/// worthless. In the layout "inside" the journal belongs to the data directory, and has stopped vouching for the stage.
pub fn discard(layout: &Layout) -> Result<()> {
    layout.ensure_stage_is_seen()?;
    let stage = layout.stage();
    if layout.place == Place::Beside {
        Journal::remove(&stage)?;
    }
    let removed = layout.staged_data().remove_tree().and_then(|_| layout.remove_stage());
    if removed.map_err(|error| disk_error(error, format!("removing {stage}")))? {
        sync(layout.workplace())?;
    }
    Ok(())
}

/// Removes everything that is staged, including remains of private servers, but keeps the clone's journal for the next
/// start.
pub fn clear(layout: &Layout) -> Result<()> {
    let stage = layout.stage();
    let failed = |error| disk_error(error, format!("clearing {stage}"));
    let entries = match stage.entries() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        if entry.name != super::journal::FILE_NAME {
            stage.join(&entry.name).remove_whatever_it_is().map_err(failed)?;
        }
    }
    sync(&stage)
}

/// Removes files that programs and private servers left beside the copy.
pub fn keep_copy_only(layout: &Layout) -> Result<()> {
    let stage = layout.stage();
    let failed = |error| disk_error(error, format!("clearing {stage}"));
    let entries = match stage.entries() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    let kept = [layout.staged_data(), layout.staged_inventory(), stage.join(super::journal::FILE_NAME)];
    for entry in entries {
        let spot = stage.join(&entry.name);
        if !kept.iter().any(|kept| kept.path() == spot.path()) {
            spot.remove_whatever_it_is().map_err(failed)?;
        }
    }
    Ok(())
}

/// Makes an empty data directory for a server to initialise, and announces it in its journal.
pub fn announce_first_start(layout: &Layout, ownership: Ownership) -> Result<()> {
    let data = layout.data();
    if !data.exists() {
        make_directory(&data)?;
        // Held open: the owner is given to the directory just made, or to another of ours that is as empty.
        let made = data.held().map_err(|error| disk_error(error, format!("opening {data}")))?;
        made.ensure_own_and_empty().map_err(|error| disk_error(error, "making the data directory"))?;
        ownership.give(&made)?;
        sync(layout.workplace())?;
    }
    Journal::new(State::Initialising).write_for(&data, ownership)
}

/// Moves untrusted data to a harmless place and returns it. Refuses where there is no such place.
pub fn set_aside(layout: &Layout) -> Result<Spot> {
    let data = layout.data();
    let Some(aside) = layout.aside(super::journal::now()) else {
        return Err(Reason::HalfMade.error(format!(
            "{data} is a volume's root or a mount point, so a server would see any data set aside in it: move the \
             files off the volume by hand, or mount the volume one level up as the shipped manifests do"
        )));
    };
    data.rename_over_nothing(&aside).map_err(|error| disk_error(error, format!("renaming {data} to {aside}")))?;
    sync(layout.workplace())?;
    info!(DataMovedAside, from = %data, to = %aside, "set aside untrusted data");
    Ok(aside)
}

fn make_directory(directory: &Spot) -> Result<()> {
    directory
        .make_directory(DIRECTORY_MODE)
        .map_err(|error| disk_error(error, format!("making the directory {directory}")))
}

fn sync(directory: &Spot) -> Result<()> {
    directory.sync().map_err(|error| disk_error(error, format!("syncing {directory}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datadir::ownership::Owner;

    /// As with fsGroup: entries in the volume inherit its group.
    #[test]
    fn the_stage_inherits_the_volumes_group() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
        let volume = tempfile::tempdir().unwrap();
        chown(volume.path(), None, Some(4321)).unwrap();
        std::fs::set_permissions(volume.path(), PermissionsExt::from_mode(0o2775)).unwrap();
        let layout = Layout::at(&volume.path().join("mysql"), Place::Beside);
        let ownership = layout.ownership(Some(Owner { uid: 999, gid: 999 })).unwrap();
        let data = open(&layout, ownership, &Journal::receiving(0)).unwrap().path();
        let of = |path: &std::path::Path| path.metadata().map(|found| (found.gid(), found.mode() & 0o7777)).unwrap();
        assert_eq!(of(data.parent().unwrap()), (4321, 0o2700));
        assert_eq!(of(&data).0, 4321);
        assert_eq!(of(&data).1 & 0o2000, 0o2000);
    }

    #[test]
    fn a_new_stage_is_free_of_the_old_ones_files() {
        for place in [Place::Beside, Place::Inside] {
            let volume = tempfile::tempdir().unwrap();
            let data_dir = if place == Place::Beside { volume.path().join("mysql") } else { volume.path().to_owned() };
            let layout = Layout::at(&data_dir, place);
            let ownership = layout.ownership(Some(Owner { uid: 999, gid: 999 })).unwrap();
            let data = open(&layout, ownership, &Journal::receiving(0)).unwrap();
            std::fs::write(data.path().join("ibdata1"), "old").unwrap();
            Journal::new(State::Received).write(&layout.journal_of_clone()).unwrap();
            let data = open(&layout, ownership, &Journal::receiving(0)).unwrap();
            assert_eq!(data.entries().unwrap().len(), 0, "{place:?}");
            let journal = Journal::read(&layout.journal_of_clone()).unwrap().unwrap();
            assert_eq!(journal.state, State::Receiving, "{place:?}");
        }
    }
}

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
use crate::sys::held::{Spot, kind_of};

/// Throws away what an earlier try left and makes an empty stage. The journal, which says `receiving`, is on disk before
/// this returns; so the first byte of a backup can't arrive unannounced. Nobody but us gets into it: its files are given to their
/// owner when they are published.
///
/// The earlier journal goes first, so that nothing speaks for what is being thrown away. Neither needs space: what
/// is thrown away may be what fills the volume.
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

/// Takes away what has the stage's name and is none: what is not a directory, and as root what another user may have made.
pub fn remove_impostor(layout: &Layout) -> Result<()> {
    let named = layout.named_stage();
    let removing = |spot: &Spot| {
        let what = format!("removing {spot}");
        move |error| disk_error(error, what)
    };
    if let Ok(found) = named.look() {
        if !named.is_dir() {
            warn!(StageImpostor, path = %named, "something else has the name of a stage: it is removed");
            named.remove_if_there().map_err(removing(&named))?;
        } else if !super::held_stage::counts(&found) && is_being_published_inside(layout) {
            layout.adopt_stage().map_err(|error| disk_error(error, format!("taking {named}")))?;
        } else if !super::held_stage::counts(&found) {
            warn!(
                StageOfAnother,
                path = %named,
                user = found.st_uid,
                "another user than root has made the stage, or may write there, so nothing in it can be trusted: it is removed"
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
            warn!(StageImpostor, path = %spot, "something else has the name of a stage's part: it is removed");
            spot.remove_whatever_it_is().map_err(removing(&spot))?;
        }
    }
    Ok(())
}

/// Then part of the copy may be in the data directory, and the rest only here. Earlier versions gave the stage to the server's user.
fn is_being_published_inside(layout: &Layout) -> bool {
    let data = layout.data();
    let is_publishing =
        || Journal::read(&data).is_ok_and(|journal| journal.is_some_and(|journal| journal.state == State::Publishing));
    // No server is started on such a copy any more: it is moved, or refused.
    layout.place == Place::Inside && is_publishing() && Contents::of(&data).is_ok_and(|contents| !contents.is_empty())
}

/// Removes the stage and all that is in it, in the layout "beside" its journal first: half of what it vouched for is worth
/// nothing. In the layout "inside" the journal is the data directory's, and no longer vouches for what is staged.
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

/// Removes all that is staged, also what private servers left, and leaves the journal of the clone: what it says, the next
/// start needs.
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

/// Removes what programs and private servers have left beside the copy.
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

/// Makes an empty data directory for a server to initialise, and says so in its journal.
pub fn announce_first_start(layout: &Layout, ownership: Ownership) -> Result<()> {
    let data = layout.data();
    if !data.exists() {
        make_directory(&data)?;
        // Held: what is given is what was made, or another directory of ours that is as empty.
        let made = data.held().map_err(|error| disk_error(error, format!("opening {data}")))?;
        made.ensure_own_and_empty().map_err(|error| disk_error(error, "making the data directory"))?;
        ownership.give(&made)?;
        sync(layout.workplace())?;
    }
    Journal::new(State::Initialising).write_for(&data, ownership)
}

/// Puts untrusted data where they harm nobody, and returns where; refused where no such place is.
pub fn set_aside(layout: &Layout) -> Result<Spot> {
    let data = layout.data();
    let Some(aside) = layout.aside(super::journal::now()) else {
        return Err(Reason::HalfMade.error(format!(
            "{data} is a volume's root or a mount point, so nothing in it can be set aside where a server would not see it: \
             move the files off the volume by hand, or mount the volume one level up as the shipped manifests do"
        )));
    };
    data.rename_over_nothing(&aside).map_err(|error| disk_error(error, format!("renaming {data} to {aside}")))?;
    sync(layout.workplace())?;
    info!(DataMovedAside, from = %data, to = %aside, "set aside data that cannot be trusted");
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

    /// As with fsGroup: what is made in the volume has its group, and so on.
    #[test]
    fn the_volumes_group_goes_on_to_the_stage() {
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
    fn a_new_stage_holds_nothing_of_the_old_one() {
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

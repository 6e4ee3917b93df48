//! The stage: where a backup is received and prepared, and from where it is published or discarded.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::journal::{Journal, State};
use super::layout::{Layout, Place};
use super::ownership::Ownership;
use crate::durable;
use crate::event::{info, warn};
use crate::exit::{self, Reason};

/// For the server's user and group only.
pub(super) const DIRECTORY_MODE: u32 = 0o770;

/// Throws away what an earlier try left and makes an empty stage. The journal, which says `receiving`, is on disk before
/// this returns; so the first byte of a backup can't arrive unannounced.
///
/// The earlier journal goes first, so that nothing speaks for what is being thrown away. Neither needs space: what
/// is thrown away may be what fills the volume.
pub fn open(layout: &Layout, ownership: Ownership, receiving: &Journal) -> Result<PathBuf> {
    Journal::remove(&layout.journal_of_clone())?;
    discard(layout)?;
    make_directory(&layout.stage())?;
    receiving.write(&layout.journal_of_clone())?;
    let data = layout.staged_data();
    make_directory(&data)?;
    ownership.give(&layout.stage())?;
    ownership.give(&data)?;
    sync(layout.workplace())?;
    Ok(data)
}

/// Takes away what has the stage's name and is none: through a link, what is thrown away would be somebody else's.
pub fn unlink_impostor(layout: &Layout) -> Result<()> {
    let stage = layout.stage();
    for path in [stage.clone(), stage.join("data")] {
        if path.symlink_metadata().is_ok_and(|found| !found.is_dir()) {
            warn!(StageImpostor, path = %path.display(), "something else has the name of a stage: it is removed");
            durable::remove_if_there(&path)
                .map_err(|error| exit::disk_error(error, format!("removing {}", path.display())))?;
        }
    }
    Ok(())
}

/// Removes the stage and all that is in it, in the layout "beside" its journal first: half of what it vouched for is worth
/// nothing. In the layout "inside" the journal is the data directory's, and no longer vouches for what is staged.
pub fn discard(layout: &Layout) -> Result<()> {
    let stage = layout.stage();
    if layout.place == Place::Beside {
        Journal::remove(&stage)?;
    }
    remove_tree(&layout.staged_data())?;
    if remove_tree(&stage)? {
        sync(layout.workplace())?;
    }
    Ok(())
}

/// Removes all that is staged, also what private servers left, and leaves the journal of the clone: what it says, the next
/// start needs.
pub fn clear(layout: &Layout) -> Result<()> {
    let stage = layout.stage();
    let failed = |error| exit::disk_error(error, format!("clearing {}", stage.display()));
    let entries = match std::fs::read_dir(&stage) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.file_name() == super::journal::FILE_NAME {
            continue;
        }
        match entry.file_type().map_err(failed)?.is_dir() {
            true => remove_tree(&entry.path()).map(drop)?,
            false => durable::remove_if_there(&entry.path()).map(drop).map_err(failed)?,
        }
    }
    sync(&stage)
}

/// Makes an empty data directory for a server to initialise, and says so in its journal.
pub fn announce_first_start(layout: &Layout, ownership: Ownership) -> Result<()> {
    if !layout.data_dir.exists() {
        make_directory(&layout.data_dir)?;
        ownership.give(&layout.data_dir)?;
        sync(layout.workplace())?;
    }
    let journal = Journal::new(State::Initialising);
    journal.write(&layout.data_dir)?;
    ownership.give(&layout.data_dir.join(super::journal::FILE_NAME))
}

/// Puts untrusted data where they harm nobody, and returns where; refused where no such place is.
pub fn set_aside(layout: &Layout) -> Result<PathBuf> {
    let Some(aside) = layout.aside(super::journal::now()) else {
        return Err(Reason::HalfMade.error(format!(
            "{} is a volume's root or a mount point, so nothing in it can be set aside where a server would not see it: \
             move the files off the volume by hand, or mount the volume one level up as the shipped manifests do",
            layout.data_dir.display()
        )));
    };
    std::fs::rename(&layout.data_dir, &aside).map_err(|error| {
        exit::disk_error(error, format!("renaming {} to {}", layout.data_dir.display(), aside.display()))
    })?;
    sync(layout.workplace())?;
    info!(DataMovedAside, from = %layout.data_dir.display(), to = %aside.display(), "set aside data that cannot be trusted");
    Ok(aside)
}

fn make_directory(path: &Path) -> Result<()> {
    std::fs::DirBuilder::new()
        .mode(DIRECTORY_MODE)
        .create(path)
        .map_err(|error| exit::disk_error(error, format!("making the directory {}", path.display())))
}

/// Removes a directory with all that is in it; says whether there was one.
fn remove_tree(path: &Path) -> Result<bool> {
    match std::fs::remove_dir_all(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(exit::disk_error(error, format!("removing {}", path.display()))),
    }
}

fn sync(directory: &Path) -> Result<()> {
    durable::sync_directory(directory)
        .map_err(|error| exit::disk_error(error, format!("syncing {}", directory.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Owner;

    #[test]
    fn a_new_stage_holds_nothing_of_the_old_one() {
        for place in [Place::Beside, Place::Inside] {
            let volume = tempfile::tempdir().unwrap();
            let data_dir = if place == Place::Beside { volume.path().join("mysql") } else { volume.path().to_owned() };
            let layout = Layout { data_dir, place };
            let ownership = Ownership::decide(&layout, Some(Owner { uid: 999, gid: 999 })).unwrap();
            let data = open(&layout, ownership, &Journal::receiving(0)).unwrap();
            std::fs::write(data.join("ibdata1"), "old").unwrap();
            Journal::new(State::Received).write(&layout.journal_of_clone()).unwrap();
            let data = open(&layout, ownership, &Journal::receiving(0)).unwrap();
            assert_eq!(std::fs::read_dir(data).unwrap().count(), 0, "{place:?}");
            let journal = Journal::read(&layout.journal_of_clone()).unwrap().unwrap();
            assert_eq!(journal.state, State::Receiving, "{place:?}");
        }
    }
}

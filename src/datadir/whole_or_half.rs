//! Decides the state of a data directory: empty, whole, an interrupted clone, or half a database. It reads the journal
//! where there is one, else judges the content.

use anyhow::Result;

use super::contents::{Contents, Foreign};
use super::first_start;
use super::journal::{Journal, State};
use super::layout::{Layout, Place};
use crate::model::exit::Reason;
use crate::server::config_files::ServerConfig;

/// The state that a start finds.
#[derive(Debug)]
pub enum Found {
    /// An empty directory.
    Empty,
    /// Ordinal 0's first start was announced, and has yet to write anything.
    Announced,
    /// The data directory's own journal decides: a server owns it, or is about to.
    Settled(Journal),
    /// A clone was interrupted; its journal records its progress.
    Interrupted(Journal),
    /// Ordinal 0's first start was interrupted after it had begun to write.
    HalfInitialised,
    /// Data without a journal, a whole database.
    ForeignComplete,
    /// Data without a journal that are unfit for a server, and why.
    ForeignHalfMade(String),
}

/// Looks at a data directory and its stage. Asks for the server's configuration only where that is needed to judge the
/// content.
pub fn look(layout: &Layout, config: impl FnOnce() -> Result<ServerConfig>) -> Result<Found> {
    let found = look_at_both(layout, config)?;
    // Beside whole data the stage is obsolete.
    if !matches!(found, Found::Settled(_) | Found::ForeignComplete) {
        layout.ensure_stage_is_seen()?;
    }
    Ok(found)
}

fn look_at_both(layout: &Layout, config: impl FnOnce() -> Result<ServerConfig>) -> Result<Found> {
    let data = layout.data();
    if !data.exists() {
        return interrupted_or_empty(layout);
    }
    let contents = Contents::of(&data)?;
    match Journal::read(&data)? {
        Some(journal) => journalled(layout, journal, &contents),
        None if contents.is_empty() => interrupted_or_empty(layout),
        None => Ok(match contents.foreign_verdict(&data, &config()?)? {
            Foreign::Complete => Found::ForeignComplete,
            Foreign::HalfMade(why) => Found::ForeignHalfMade(why),
        }),
    }
}

/// In the layout "beside" an empty data directory may have a stage with a journal of its own.
fn interrupted_or_empty(layout: &Layout) -> Result<Found> {
    let journal = match layout.place {
        Place::Beside => Journal::read(&layout.stage())?,
        Place::Inside => None,
    };
    Ok(journal.map_or(Found::Empty, Found::Interrupted))
}

fn journalled(layout: &Layout, journal: Journal, contents: &Contents) -> Result<Found> {
    match journal.state {
        State::Initialising if contents.is_empty() => Ok(Found::Announced),
        State::Initialising if first_start::is_done(&layout.data()) => Ok(Found::Settled(journal)),
        State::Initialising => Ok(Found::HalfInitialised),
        State::Receiving | State::Received | State::Preparing | State::Prepared => {
            match contents.foreign_names().next() {
                None => Ok(Found::Interrupted(journal)),
                Some(name) => Err(Reason::HalfMade.error(format!(
                    "{} holds the foreign entry {name:?} while a clone is {} there: move it away, or empty the \
                     directory to clone again",
                    layout.data_dir.display(),
                    journal.state
                ))),
            }
        }
        State::Publishing => Ok(Found::Interrupted(journal)),
        State::Complete | State::Published | State::Configured | State::Replicating => {
            match contents.foreign_names().next() {
                Some(_) => Ok(Found::Settled(journal)),
                None => Err(Reason::HalfMade.error(format!(
                    "{} holds only a journal in state {}: the data were removed; remove the journal as well to clone \
                     again",
                    layout.data_dir.display(),
                    journal.state
                ))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::exit::reason_of;

    fn look(layout: &Layout) -> Result<Found> {
        super::look(layout, || Ok(ServerConfig::default()))
    }

    /// It counted as absent, so that ordinal 0 could have begun a new database.
    #[test]
    fn an_unreadable_stage_is_refused() {
        let (volume, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let layout = Layout::at(&volume.path().join("mysql"), Place::Beside);
        std::os::unix::fs::symlink(elsewhere.path(), layout.named_stage().path()).unwrap();
        let error = look(&layout).unwrap_err();
        assert_eq!(reason_of(&error), Some(Reason::Disk));
        assert!(format!("{error:#}").contains("looking at"), "{error:#}");
    }

    fn volume() -> (tempfile::TempDir, Layout) {
        let volume = tempfile::tempdir().unwrap();
        let layout = Layout::at(&volume.path().join("mysql"), Place::Beside);
        (volume, layout)
    }

    #[test]
    fn nothing_is_empty() {
        let (_volume, layout) = volume();
        assert!(matches!(look(&layout).unwrap(), Found::Empty));
        std::fs::create_dir(&layout.data_dir).unwrap();
        assert!(matches!(look(&layout).unwrap(), Found::Empty));
    }

    #[test]
    fn an_unfinished_journal_is_ignored() {
        for state in [None, Some(State::Receiving)] {
            let volume = tempfile::tempdir().unwrap();
            let layout = Layout::at(volume.path(), Place::Inside);
            if let Some(state) = state {
                Journal::new(state).write(volume.path()).unwrap();
            }
            std::fs::write(volume.path().join(".mysqlset.json.new"), "{").unwrap();
            assert!(matches!(look(&layout).unwrap(), Found::Empty | Found::Interrupted(_)));
        }
    }

    #[test]
    fn a_stage_beside_an_empty_directory_counts() {
        let (_volume, layout) = volume();
        std::fs::create_dir(layout.named_stage().path()).unwrap();
        Journal::new(State::Received).write(&layout.stage()).unwrap();
        assert!(matches!(look(&layout).unwrap(), Found::Interrupted(journal) if journal.state == State::Received));
    }

    #[test]
    fn the_data_directorys_own_journal_takes_precedence() {
        let (_volume, layout) = volume();
        std::fs::create_dir_all(layout.data_dir.join("mysql")).unwrap();
        std::fs::create_dir(layout.named_stage().path()).unwrap();
        Journal::new(State::Publishing).write(&layout.stage()).unwrap();
        Journal::new(State::Published).write(&layout.data_dir).unwrap();
        assert!(matches!(look(&layout).unwrap(), Found::Settled(journal) if journal.state == State::Published));
    }

    #[test]
    fn a_first_start_that_wrote_files_is_half_made() {
        let (_volume, layout) = volume();
        std::fs::create_dir(&layout.data_dir).unwrap();
        Journal::new(State::Initialising).write(&layout.data_dir).unwrap();
        assert!(matches!(look(&layout).unwrap(), Found::Announced));
        std::fs::write(layout.data_dir.join("ibdata1"), "").unwrap();
        assert!(matches!(look(&layout).unwrap(), Found::HalfInitialised));
        std::fs::write(layout.data_dir.join(".mysqlset-first-start-done"), "").unwrap();
        assert!(matches!(look(&layout).unwrap(), Found::Settled(_)));
    }

    #[test]
    fn foreign_files_in_an_unfinished_clone_are_refused() {
        let volume = tempfile::tempdir().unwrap();
        let layout = Layout::at(volume.path(), Place::Inside);
        Journal::new(State::Receiving).write(volume.path()).unwrap();
        assert!(matches!(look(&layout).unwrap(), Found::Interrupted(_)));
        std::fs::write(volume.path().join("ibdata1"), "").unwrap();
        assert_eq!(reason_of(&look(&layout).unwrap_err()), Some(Reason::HalfMade));
    }

    #[test]
    fn a_lone_journal_of_a_whole_copy_is_refused() {
        let (_volume, layout) = volume();
        std::fs::create_dir(&layout.data_dir).unwrap();
        Journal::new(State::Replicating).write(&layout.data_dir).unwrap();
        assert_eq!(reason_of(&look(&layout).unwrap_err()), Some(Reason::HalfMade));
    }
}

//! Decides where the stage of a data directory lies: beside it where one rename can publish it, else inside.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::Result;
use rustix::fs::{Access, access};
use rustix::process::geteuid;
use tracing::debug;

use super::contents::Contents;
use super::journal::{Journal, State};
use super::ownership::{Owner, Ownership};
use crate::model::exit::Reason;
use crate::sys::disk::disk_error;
use crate::sys::held_directory::Spot;

/// The stage in a data directory.
const INSIDE: &str = ".mysqlset-stage";

/// Where a copy is staged, in relation to the data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a sibling directory: publishing is one rename.
    Beside,
    /// In a dot-directory of the data directory, which is a mount point: publishing renames entry by entry.
    Inside,
}

/// A data directory with its places for staging and scratch.
#[derive(Clone, Debug)]
pub struct Layout {
    /// As it was configured: for messages, and for places in the server's configuration.
    pub data_dir: PathBuf,
    pub place: Place,
    workplace: Spot,
    pub(super) stage: Arc<Mutex<Option<Spot>>>,
}

impl Layout {
    /// Looks at how the data directory is mounted. It may be missing where its parent can hold it.
    pub fn of(data_dir: &Path) -> Result<Layout> {
        // Without access to the parent, work inside is still possible.
        let above = Spot::of(parent(data_dir)).ok();
        let named = above.as_ref().zip(data_dir.file_name()).map(|(above, name)| above.join(name));
        let is_link = named.as_ref().is_some_and(Spot::is_link);
        if let Some(link) = named.as_ref().filter(|_| is_link) {
            ensure_link_counts(link)?;
        }
        let place = match (&above, &named) {
            (Some(above), Some(data)) if !is_link && can_be_renamed(above, data)? => Place::Beside,
            _ => Place::Inside,
        };
        let workplace = match (place, above, named) {
            (Place::Beside, Some(above), _) => Ok(above),
            (_, _, Some(data)) if !is_link => data.held(),
            // A link made by the user is followed once.
            _ => Spot::of(data_dir),
        };
        let workplace = match workplace {
            Err(error) if error.kind() == ErrorKind::NotFound => Spot::nowhere(data_dir.to_owned()),
            found => found.map_err(|error| disk_error(error, format!("opening {}", data_dir.display())))?,
        };
        debug!(data_dir = %data_dir.display(), ?place, "layout");
        Ok(Layout { data_dir: data_dir.to_owned(), place, workplace, stage: Arc::default() })
    }

    /// A layout of the given kind, for tests.
    #[cfg(test)]
    pub(crate) fn at(data_dir: &Path, place: Place) -> Layout {
        let workplace = match place {
            Place::Beside => Spot::of(parent(data_dir)),
            Place::Inside => Spot::of(data_dir),
        };
        Layout { data_dir: data_dir.to_owned(), place, workplace: workplace.unwrap(), stage: Arc::default() }
    }

    /// The data directory.
    pub fn data(&self) -> Spot {
        match self.place {
            Place::Beside => self.workplace.join(self.data_dir.file_name().unwrap_or_default()),
            Place::Inside => self.workplace.clone(),
        }
    }

    /// Refuses a data directory that is missing and cannot be created, and names the cause.
    pub fn ensure_possible(&self) -> Result<()> {
        if self.data().exists() {
            return Ok(());
        }
        let parent = parent(&self.data_dir);
        access(parent, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
            let what = format!("{} is missing, and {} cannot be written", self.data_dir.display(), parent.display());
            disk_error(error.into(), what)
        })
    }

    /// The entry under the stage's name, of any type.
    pub(super) fn named_stage(&self) -> Spot {
        match self.place {
            Place::Beside => self.workplace.join(self.sibling("stage")),
            Place::Inside => self.workplace.join(INSIDE),
        }
    }

    /// The staged copy itself, in the form of a data directory.
    pub fn staged_data(&self) -> Spot {
        self.stage().join("data")
    }

    /// The donor's list of what the staged copy must hold.
    pub fn staged_inventory(&self) -> Spot {
        self.stage().join("inventory")
    }

    /// Whom published files are given to.
    pub fn ownership(&self, owner: Option<Owner>) -> Result<Ownership> {
        Ownership::decide(&self.data_dir, &[self.data(), self.workplace().clone()], owner)
    }

    /// Whether the whole backup that a journal speaks for is still staged: earlier versions removed the backup first and
    /// their journal later.
    pub fn has_backup_of(&self, journal: &Journal) -> bool {
        journal.state != State::Publishing && journal.has_whole_backup() && self.staged_data().exists()
    }

    /// The directory with the journal of a clone's progress.
    pub fn journal_of_clone(&self) -> Spot {
        match self.place {
            Place::Beside => self.stage(),
            Place::Inside => self.data(),
        }
    }

    /// The directory that holds all work on this data directory. It exists before the work begins.
    pub fn workplace(&self) -> &Spot {
        &self.workplace
    }

    /// Where untrusted data are kept instead of being deleted; `None` where that is unsafe. A server lists a directory
    /// inside its data directory as a database, or refuses to start beside it.
    pub fn aside(&self, seconds_since_1970: u64) -> Option<Spot> {
        let name = self.sibling(&format!("aside-{seconds_since_1970}"));
        (self.place == Place::Beside).then(|| self.workplace.join(name))
    }

    /// Where a backup tool's temporary files may lie on the volume; `None` where that is unsafe while a server runs.
    pub fn scratch(&self) -> Option<PathBuf> {
        (self.place == Place::Beside).then(|| parent(&self.data_dir).join(self.sibling("scratch")))
    }

    fn sibling(&self, purpose: &str) -> OsString {
        let mut name = OsString::from(".mysqlset-");
        name.push(self.data_dir.file_name().unwrap_or_default());
        name.push("-");
        name.push(purpose);
        name
    }
}

/// Refuses to follow another user's link as root: a user with write access there could lead root anywhere.
fn ensure_link_counts(link: &Spot) -> Result<()> {
    let found = link.look().map_err(|error| disk_error(error, format!("looking at {link}")))?;
    if !geteuid().is_root() || found.st_uid == 0 {
        return Ok(());
    }
    Err(Reason::Disk.error(format!(
        "{link} is a symbolic link of user {}, and root follows only root's links: pass the directory itself to \
         --data-dir, or run clone as that user",
        found.st_uid
    )))
}

/// Whether a rename from a sibling could put another directory in this one's place.
fn can_be_renamed(parent: &Spot, data: &Spot) -> Result<bool> {
    if !parent.may_be_written() {
        return Ok(false);
    }
    if !data.exists() {
        return Ok(true);
    }
    // An interrupted start is finished where it began, even if the mounts have changed since.
    let is_under_way = Journal::read(data).is_ok_and(|journal| journal.is_some_and(|journal| journal.is_of_a_clone()));
    if is_under_way || data.join(INSIDE).exists() {
        return Ok(false);
    }
    if is_mount_point(data)? || Contents::of(data)?.storages_names().next().is_some() {
        return Ok(false);
    }
    let device = |spot: &Spot| {
        let found = spot.look().map_err(|error| disk_error(error, format!("looking at {spot}")));
        found.map(|found| found.st_dev)
    };
    Ok(device(parent)? == device(data)?)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

/// Whether a directory is itself a mount point. A `subPath` mount has its parent's device number, so only the kernel's
/// list of mounts tells.
fn is_mount_point(directory: &Spot) -> Result<bool> {
    let resolved = directory.real_path().map_err(|error| disk_error(error, format!("looking at {directory}")))?;
    let mounts =
        std::fs::read("/proc/self/mountinfo").map_err(|error| disk_error(error, "reading /proc/self/mountinfo"))?;
    Ok(mount_points(&mounts).any(|mount_point| mount_point == resolved.as_os_str().as_bytes()))
}

/// The fifth field of each line of mountinfo, unescaped. (proc_pid_mountinfo(5))
fn mount_points(mountinfo: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    mountinfo
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(unescape_octal)
}

/// Mountinfo writes space, tab, line end and backslash as `\` and three octal digits.
fn unescape_octal(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let code = after
            .first_chunk::<3>()
            .filter(|code| byte == b'\\' && code.iter().all(|digit| (b'0'..=b'7').contains(digit)));
        match code {
            Some(code) => {
                plain.push(code.iter().fold(0u8, |value, digit| value.wrapping_mul(8).wrapping_add(digit - b'0')));
                rest = &after[3..];
            }
            None => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_directory_is_staged_beside() {
        let volume = tempfile::tempdir().unwrap();
        let layout = Layout::of(&volume.path().join("mysql")).unwrap();
        assert_eq!(layout.place, Place::Beside);
        assert_eq!(layout.named_stage().path(), volume.path().join(".mysqlset-mysql-stage"));
        assert_eq!(layout.journal_of_clone().path(), layout.stage().path());
        std::fs::create_dir(volume.path().join("mysql")).unwrap();
        assert_eq!(Layout::of(&volume.path().join("mysql")).unwrap().place, Place::Beside);
    }

    #[test]
    fn the_root_of_a_file_system_is_staged_inside() {
        for name in ["lost+found", ".snapshot", ".Trash-0"] {
            let data_dir = tempfile::tempdir().unwrap();
            std::fs::create_dir(data_dir.path().join(name)).unwrap();
            assert_eq!(Layout::of(data_dir.path()).unwrap().place, Place::Inside, "{name}");
        }
        assert_eq!(Layout::of(Path::new("/proc")).unwrap().place, Place::Inside);
    }

    #[test]
    fn an_unwritable_place_is_named() {
        let layout = Layout::of(Path::new("/proc/nowhere/mysql")).unwrap();
        let error = layout.ensure_possible().unwrap_err();
        assert_eq!(crate::model::exit::reason_of(&error), Some(crate::model::exit::Reason::Disk));
        assert!(error.to_string().contains("/proc/nowhere cannot be written"), "{error}");
    }

    #[test]
    fn reads_escaped_mount_points() {
        let line = b"36 35 98:0 /mnt1 /var/lib/my\\040sql\\134x rw,noatime master:1 - ext3 /dev/root rw\n";
        assert_eq!(mount_points(line).collect::<Vec<_>>(), [b"/var/lib/my sql\\x".to_vec()]);
    }
}

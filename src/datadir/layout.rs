//! Where the stage of a data directory lies: beside it where one rename can publish it, else inside.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rustix::fs::{Access, access};
use tracing::debug;

use super::contents::Contents;
use super::journal::Journal;
use crate::exit;

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
    pub data_dir: PathBuf,
    pub place: Place,
}

impl Layout {
    /// Looks at how the data directory is mounted. It need not exist yet where its parent can hold it.
    pub fn of(data_dir: &Path) -> Result<Layout> {
        let place = if can_be_renamed(data_dir)? { Place::Beside } else { Place::Inside };
        debug!(data_dir = %data_dir.display(), ?place, "layout");
        Ok(Layout { data_dir: data_dir.to_owned(), place })
    }

    /// Refuses, in words that name the cause, a data directory that isn't there and can't be made.
    pub fn ensure_possible(&self) -> Result<()> {
        if self.data_dir.exists() {
            return Ok(());
        }
        let parent = parent(&self.data_dir);
        access(parent, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
            let what = format!("{} is not there, and {} cannot be written", self.data_dir.display(), parent.display());
            exit::disk_error(error.into(), what)
        })
    }

    /// The directory that holds what is being received, and in the layout "beside" its journal.
    pub fn stage(&self) -> PathBuf {
        match self.place {
            Place::Beside => self.sibling("stage"),
            Place::Inside => self.data_dir.join(INSIDE),
        }
    }

    /// The staged copy itself, in the form of a data directory.
    pub fn staged_data(&self) -> PathBuf {
        self.stage().join("data")
    }

    /// What the staged copy must hold, as its donor listed it.
    pub fn staged_inventory(&self) -> PathBuf {
        self.stage().join("inventory")
    }

    /// The directory whose journal tells how far a clone has come.
    pub fn journal_of_clone(&self) -> PathBuf {
        match self.place {
            Place::Beside => self.stage(),
            Place::Inside => self.data_dir.clone(),
        }
    }

    /// The directory that all work on this data directory happens below; it exists before any of it.
    pub fn workplace(&self) -> &Path {
        match self.place {
            Place::Beside => parent(&self.data_dir),
            Place::Inside => &self.data_dir,
        }
    }

    /// Where untrusted data are put instead of being deleted; `None` where that is not safe: a server lists a
    /// directory inside its data directory as a database, or refuses to start beside it.
    pub fn aside(&self, seconds_since_1970: u64) -> Option<PathBuf> {
        (self.place == Place::Beside).then(|| self.sibling(&format!("aside-{seconds_since_1970}")))
    }

    /// Where a backup tool's temporary files may lie on the volume; `None` where that is not safe while a server runs.
    pub fn scratch(&self) -> Option<PathBuf> {
        (self.place == Place::Beside).then(|| self.sibling("scratch"))
    }

    fn sibling(&self, purpose: &str) -> PathBuf {
        let mut name = OsString::from(".mysqlset-");
        name.push(self.data_dir.file_name().unwrap_or_default());
        name.push("-");
        name.push(purpose);
        parent(&self.data_dir).join(name)
    }
}

/// Whether a rename from a sibling could put another directory in this one's place.
fn can_be_renamed(data_dir: &Path) -> Result<bool> {
    let parent = parent(data_dir);
    if data_dir.file_name().is_none() || access(parent, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        return Ok(false);
    }
    if !data_dir.exists() {
        return Ok(true);
    }
    // A start that was interrupted there is finished there, whatever is mounted where since.
    let is_under_way =
        Journal::read(data_dir).is_ok_and(|journal| journal.is_some_and(|journal| journal.is_of_a_clone()));
    if is_under_way || data_dir.join(INSIDE).exists() {
        return Ok(false);
    }
    if data_dir.is_symlink() || is_mount_point(data_dir)? || Contents::of(data_dir)?.storages_names().next().is_some() {
        return Ok(false);
    }
    let device = |path: &Path| {
        std::fs::metadata(path)
            .map(|metadata| metadata.dev())
            .map_err(|error| exit::disk_error(error, format!("looking at {}", path.display())))
    };
    Ok(device(parent)? == device(data_dir)?)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

/// Whether something is mounted right on a directory. A `subPath` mount has its parent's device number, so only the
/// kernel's list of mounts tells.
fn is_mount_point(directory: &Path) -> Result<bool> {
    let resolved = directory
        .canonicalize()
        .map_err(|error| exit::disk_error(error, format!("looking at {}", directory.display())))?;
    let mounts = std::fs::read("/proc/self/mountinfo")
        .map_err(|error| exit::disk_error(error, "reading /proc/self/mountinfo"))?;
    Ok(mount_points(&mounts).any(|mount_point| mount_point == resolved.as_os_str().as_bytes()))
}

/// The fifth field of each line of mountinfo, unescaped. (proc_pid_mountinfo(5))
fn mount_points(mountinfo: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    mountinfo
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(unescape_octal)
}

/// Space, tab, line end and backslash stand in mountinfo as `\` and three octal digits.
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
        assert_eq!(layout.stage(), volume.path().join(".mysqlset-mysql-stage"));
        assert_eq!(layout.journal_of_clone(), layout.stage());
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
    fn a_place_where_nothing_can_be_made_is_named() {
        let layout = Layout::of(Path::new("/proc/nowhere/mysql")).unwrap();
        let error = layout.ensure_possible().unwrap_err();
        assert_eq!(crate::exit::reason_of(&error), Some(crate::exit::Reason::Disk));
        assert!(error.to_string().contains("/proc/nowhere cannot be written"), "{error}");
    }

    #[test]
    fn reads_escaped_mount_points() {
        let line = b"36 35 98:0 /mnt1 /var/lib/my\\040sql\\134x rw,noatime master:1 - ext3 /dev/root rw\n";
        assert_eq!(mount_points(line).collect::<Vec<_>>(), [b"/var/lib/my sql\\x".to_vec()]);
    }
}

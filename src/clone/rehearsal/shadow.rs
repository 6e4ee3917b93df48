//! The shadow: the copy's files under second names for the rehearsal's server, so that the copy stays as it is.
//!
//! Some files are written in spite of `--innodb-read-only`, so the shadow has copies of them. They are Aria's log and
//! control file, and the index files of Aria and MyISAM, in which `CHECK TABLE` records its run. All others are hard
//! links, which take no room. Both families leave InnoDB's files unwritten then (compared by digests on MariaDB 10.11,
//! 11.8 and MySQL 9.7). New files, such as `multi-master.info` and `auto.cnf`, disappear with the directory.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::sys::disk::disk_error;

/// Name of the directory beside the copy.
const NAME: &str = "shadow";

/// For this program and the server, which runs as the same user.
const DIRECTORY_MODE: u32 = 0o700;

/// The shadow's directory. Dropping it removes it.
#[derive(Debug)]
pub struct Shadow {
    path: PathBuf,
}

impl Shadow {
    /// Makes the shadow beside a copy. First removes the remains of a killed rehearsal.
    pub fn of(data: &Path) -> Result<Shadow> {
        let path = data.with_file_name(NAME);
        let made = remove(&path).and_then(|()| mirror(data, &path));
        let shadow = Shadow { path };
        match made {
            Ok(()) => Ok(shadow),
            Err(error) => {
                Err(disk_error(error, format!("cannot link the copy's files into {}", shadow.path.display())))
            }
        }
    }

    /// Bytes that a shadow takes: those of the files that a server writes. First removes the remains of a killed
    /// rehearsal.
    pub fn room(data: &Path) -> Result<u64> {
        let room = remove(&data.with_file_name(NAME)).and_then(|()| written(data));
        room.map_err(|error| disk_error(error, format!("cannot scan the files of {}", data.display())))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        // Errors are ignored: the stage's removal or the next rehearsal removes the rest.
        let _ = remove(&self.path);
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn written(directory: &Path) -> io::Result<u64> {
    let mut bytes: u64 = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            bytes = bytes.saturating_add(written(&entry.path())?);
        } else if is_written(&entry.file_name().to_string_lossy()) {
            bytes = bytes.saturating_add(metadata.len());
        }
    }
    Ok(bytes)
}

fn mirror(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().mode(DIRECTORY_MODE).create(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            mirror(&source, &target)?;
        } else if is_written(&entry.file_name().to_string_lossy()) {
            std::fs::copy(&source, &target)?;
        } else {
            link_or_copy(&source, &target)?;
        }
    }
    Ok(())
}

/// Copies a file if the file system lacks hard links. The shadow then takes as much room as the copy.
fn link_or_copy(source: &Path, target: &Path) -> io::Result<()> {
    match std::fs::hard_link(source, target) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied | io::ErrorKind::TooManyLinks
            ) =>
        {
            std::fs::copy(source, target).map(drop)
        }
        linked => linked,
    }
}

/// Whether a server writes this file even when InnoDB is read-only.
fn is_written(name: &str) -> bool {
    name.starts_with("aria_log") || [".MAI", ".MYI", ".CSM", ".ARZ", ".ARM"].iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn written_files_are_copies_and_all_others_links() {
        let stage = tempfile::tempdir().unwrap();
        let data = stage.path().join("data");
        std::fs::create_dir_all(data.join("app")).unwrap();
        for name in ["ibdata1", "aria_log_control", "app/t.ibd", "app/m.MYI", "app/m.MYD"] {
            std::fs::write(data.join(name), name).unwrap();
        }
        // Left by a killed rehearsal.
        std::fs::create_dir(stage.path().join("shadow")).unwrap();
        std::fs::write(stage.path().join("shadow/multi-master.info"), "").unwrap();

        assert_eq!(Shadow::room(&data).unwrap(), ("aria_log_control".len() + "app/m.MYI".len()) as u64);
        let shadow = Shadow::of(&data).unwrap();
        let is_same = |name: &str| {
            let inode = |path: PathBuf| std::fs::metadata(path).unwrap().ino();
            assert_eq!(std::fs::read(shadow.path().join(name)).unwrap(), name.as_bytes());
            inode(shadow.path().join(name)) == inode(data.join(name))
        };
        assert!(is_same("ibdata1") && is_same("app/t.ibd") && is_same("app/m.MYD"));
        assert!(!is_same("aria_log_control") && !is_same("app/m.MYI"));
        assert!(!shadow.path().join("multi-master.info").exists());
        drop(shadow);
        assert!(!stage.path().join("shadow").exists() && data.join("app/m.MYI").exists());
    }
}

//! What the rehearsal's server runs on: the copy's files under second names, so that whatever it does the copy stays as it is.
//!
//! Files that a server writes in spite of `--innodb-read-only` are copied: Aria's log and control file, and the index files
//! of Aria and MyISAM, in which `CHECK TABLE` notes that it was there. All others are hard links: neither family writes
//! InnoDB's files then (compared by digests on MariaDB 10.11, 11.8 and MySQL 9.7), and a link takes no room. New files, such
//! as `multi-master.info` and `auto.cnf`, go with the directory.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::sys::disk::disk_error;

/// Beside the copy.
const NAME: &str = "shadow";

/// For us and the server, which runs as we do.
const DIRECTORY_MODE: u32 = 0o700;

/// The directory. Dropped, it goes.
#[derive(Debug)]
pub struct Shadow {
    path: PathBuf,
}

impl Shadow {
    /// Makes it beside a copy. What a killed rehearsal left goes first.
    pub fn of(data: &Path) -> Result<Shadow> {
        let path = data.with_file_name(NAME);
        let made = remove(&path).and_then(|()| mirror(data, &path));
        let shadow = Shadow { path };
        match made {
            Ok(()) => Ok(shadow),
            Err(error) => Err(disk_error(error, format!("linking the copy's files into {}", shadow.path.display()))),
        }
    }

    /// Bytes that a shadow of a copy takes: those of files that a server writes. What a killed rehearsal left goes first.
    pub fn room(data: &Path) -> Result<u64> {
        let room = remove(&data.with_file_name(NAME)).and_then(|()| written(data));
        room.map_err(|error| disk_error(error, format!("looking at the files of {}", data.display())))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        // Else the stage goes with all that is in it, or the next rehearsal begins with that.
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

/// File systems without hard links have all of it copied, which takes as much room again.
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

/// Whether a server that is told not to write InnoDB's files writes this one.
fn is_written(name: &str) -> bool {
    name.starts_with("aria_log") || [".MAI", ".MYI", ".CSM", ".ARZ", ".ARM"].iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn what_is_written_is_a_copy_and_all_else_a_link() {
        let stage = tempfile::tempdir().unwrap();
        let data = stage.path().join("data");
        std::fs::create_dir_all(data.join("app")).unwrap();
        for name in ["ibdata1", "aria_log_control", "app/t.ibd", "app/m.MYI", "app/m.MYD"] {
            std::fs::write(data.join(name), name).unwrap();
        }
        // Of a rehearsal that was killed.
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

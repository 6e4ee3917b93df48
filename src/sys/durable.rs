//! Files that are either wholly there or not at all, whatever happens in between.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A file written beside its final name and synced, that takes the name on [`Pending::commit`]; dropped before, it
/// leaves nothing behind.
pub struct Pending {
    temporary: PathBuf,
    target: PathBuf,
    committed: bool,
}

impl Pending {
    /// Writes and syncs `content` beside `target`, in the same directory. A leftover of an interrupted run is
    /// replaced.
    pub fn write(target: &Path, content: &[u8], mode: u32) -> io::Result<Pending> {
        let temporary = temporary_name(target)?;
        let pending = Pending { temporary, target: target.to_owned(), committed: false };
        remove_if_there(&pending.temporary)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&pending.temporary)?;
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.write_all(content)?;
        file.sync_all()?;
        Ok(pending)
    }

    /// Gives the file its name, replacing what had it. Lasting once the directory is synced.
    pub fn commit(mut self) -> io::Result<()> {
        std::fs::rename(&self.temporary, &self.target)?;
        self.committed = true;
        Ok(())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.committed {
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// Replaces `target` by a file with `content`, and returns when that would outlast a power cut.
pub fn replace(target: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    Pending::write(target, content, mode)?.commit()?;
    sync_directory(parent_of(target)?)
}

/// Makes the names in a directory outlast a power cut.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Makes everything written to the file system that holds `directory` outlast a power cut: one call instead of one
/// for each of a backup's files. Linux reports write errors through it since 5.8.
pub fn sync_file_system(directory: &Path) -> io::Result<()> {
    rustix::fs::syncfs(File::open(directory)?).map_err(io::Error::from)
}

/// Reads a file of at most so many bytes; `None` where it has more, or is no file at all. Who wrote it need not be trusted.
pub fn read_bounded(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    if !std::fs::symlink_metadata(path)?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= most).then_some(bytes))
}

/// Bytes that an ordinary user can still write to the file system that holds `path`.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(path)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Removes a file; that there is none is fine. Says whether there was one.
pub fn remove_if_there(path: &Path) -> io::Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Hidden, and with the target's own beginning where that is hidden already: whoever knows our names by how they begin
/// knows this one too.
fn temporary_name(target: &Path) -> io::Result<PathBuf> {
    let name = target.file_name().ok_or_else(|| io::Error::other("not the name of a file"))?;
    Ok(parent_of(target)?.join(temporary_of(name)))
}

/// The same, of the name alone.
pub fn temporary_of(name: &OsStr) -> OsString {
    let is_hidden = name.as_encoded_bytes().starts_with(b".");
    let mut temporary = OsString::from(if is_hidden { "" } else { "." });
    temporary.push(name);
    temporary.push(".new");
    temporary
}

fn parent_of(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| io::Error::other("a path without a directory"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pending_file_that_is_dropped_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("file");
        drop(Pending::write(&target, b"new", 0o644).unwrap());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_kill_leaves_of_a_hidden_file_begins_like_it() {
        let name = temporary_name(Path::new("/data/.mysqlset.json")).unwrap();
        assert_eq!(name, Path::new("/data/.mysqlset.json.new"));
    }

    #[test]
    fn replaces_whole_files_and_leftovers() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("file");
        std::fs::write(directory.path().join(".file.new"), b"left by a kill").unwrap();
        replace(&target, b"one", 0o600).unwrap();
        replace(&target, b"two", 0o644).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}

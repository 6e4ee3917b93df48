//! Reaches files of a volume from a directory that is held open, never through a symbolic link.
//!
//! `clone` may run as root in a volume where others write. Another user can replace a directory by a link between
//! a check and its use, and a path would follow that link. So a volume's directory is opened once. Everything
//! below is reached from that descriptor, one name after the other.

mod giving;
mod names;
mod strange;
mod tree;
mod writing;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{
    Access, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, accessat, fstat, fstatvfs, openat, openat2,
    statat,
};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::process::geteuid;

pub use giving::Taker;
pub use names::in_words;
use strange::{in_kind_words, strange};
pub use strange::{is_strange, kind_of};
pub use tree::Entry;

/// A path below a directory that is held open. It may or may not exist.
#[derive(Clone, Debug)]
pub struct Spot {
    /// `None`: every lookup fails.
    top: Option<Arc<OwnedFd>>,
    /// The name of the held directory in messages.
    shown: PathBuf,
    below: PathBuf,
}

/// A directory that can be held open: a configured path, or a [`Spot`] that is held already.
pub trait Directory {
    fn spot(&self) -> io::Result<Spot>;

    /// Its path, for messages.
    fn named(&self) -> PathBuf;
}

impl Directory for Spot {
    fn spot(&self) -> io::Result<Spot> {
        Ok(self.clone())
    }

    fn named(&self) -> PathBuf {
        self.path()
    }
}

impl Directory for Path {
    fn spot(&self) -> io::Result<Spot> {
        ensure_nobody_elses_link(self)?;
        Spot::of(self)
    }

    fn named(&self) -> PathBuf {
        self.to_path_buf()
    }
}

impl Directory for PathBuf {
    fn spot(&self) -> io::Result<Spot> {
        self.as_path().spot()
    }

    fn named(&self) -> PathBuf {
        self.clone()
    }
}

/// Root follows only links made by root: other users could point theirs anywhere.
fn ensure_nobody_elses_link(path: &Path) -> io::Result<()> {
    let found = fstat(openat(CWD, path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)?;
    let is_link = kind_of(&found) == FileType::Symlink;
    match is_link && geteuid().is_root() && found.st_uid != 0 {
        true => Err(strange(path.to_owned(), "a symbolic link made by a user other than root")),
        false => Ok(()),
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path().display().fmt(f)
    }
}

const HOLD: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Spot {
    /// Holds a directory. Its path comes from the user and may lead through links.
    pub fn of(path: &Path) -> io::Result<Spot> {
        let top = openat(CWD, path, HOLD, Mode::empty())?;
        Ok(Spot { top: Some(Arc::new(top)), shown: path.to_owned(), below: PathBuf::new() })
    }

    /// A missing directory.
    pub fn nowhere(path: PathBuf) -> Spot {
        Spot { top: None, shown: path, below: PathBuf::new() }
    }

    /// The path below this one. `name` must consist of plain names.
    pub fn join(&self, name: impl AsRef<Path>) -> Spot {
        Spot { below: self.below.join(name), ..self.clone() }
    }

    /// The path, for messages and for the configuration only. Files are opened by descriptor.
    pub fn path(&self) -> PathBuf {
        if self.below.as_os_str().is_empty() { self.shown.clone() } else { self.shown.join(&self.below) }
    }

    /// The same directory, held by a descriptor of its own, so that later changes of its name have no effect.
    pub fn held(&self) -> io::Result<Spot> {
        let top = self.open(OFlags::PATH | OFlags::DIRECTORY)?;
        Ok(Spot { top: Some(Arc::new(top)), shown: self.path(), below: PathBuf::new() })
    }

    /// Lets children started from now on inherit the descriptor, so that [`Spot::way`] leads there in them.
    pub fn for_children(self) -> io::Result<Spot> {
        if let Some(top) = &self.top {
            fcntl_setfd(top.as_fd(), FdFlags::empty())?;
            names::remember(top.as_raw_fd(), &self.shown);
        }
        Ok(self)
    }

    /// A path that begins at the held directory, even if that was renamed: for programs, and for modules that
    /// take paths. Below the directory it follows links as every path does.
    pub fn way(&self) -> PathBuf {
        // The last component of a path must not be the link in /proc.
        self.way_to_top().join(if self.below.as_os_str().is_empty() { Path::new(".") } else { &self.below })
    }

    fn way_to_top(&self) -> PathBuf {
        match &self.top {
            Some(top) => format!("/proc/self/fd/{}", top.as_raw_fd()).into(),
            None => "/proc/self/fd/none".into(),
        }
    }

    /// The directory's real path.
    pub fn real_path(&self) -> io::Result<PathBuf> {
        std::fs::read_link(self.held()?.way_to_top())
    }

    /// The file's status. A link is reported as a link.
    pub fn look(&self) -> io::Result<Stat> {
        if self.below.as_os_str().is_empty() {
            return Ok(fstat(self.top()?)?);
        }
        self.in_parent(|parent, name| statat(parent, name, AtFlags::SYMLINK_NOFOLLOW))
    }

    /// Whether the name exists, also as a dangling link.
    pub fn exists(&self) -> bool {
        self.look().is_ok()
    }

    /// Whether this process can create and remove names in the directory.
    pub fn may_be_written(&self) -> bool {
        let all = Access::WRITE_OK | Access::EXEC_OK;
        self.open(OFlags::PATH | OFlags::DIRECTORY).is_ok_and(|held| accessat(held, ".", all, AtFlags::empty()).is_ok())
    }

    pub fn is_dir(&self) -> bool {
        self.look().is_ok_and(|found| kind_of(&found) == FileType::Directory)
    }

    pub fn is_link(&self) -> bool {
        self.look().is_ok_and(|found| kind_of(&found) == FileType::Symlink)
    }

    /// Opens a plain file for reading. Opening a fifo there fails at once instead of blocking.
    pub fn open_file(&self) -> io::Result<File> {
        self.ensure_plain(&self.look()?)?;
        let file = self.open(OFlags::RDONLY | OFlags::NONBLOCK)?;
        self.ensure_plain(&fstat(&file)?)?;
        Ok(file.into())
    }

    fn ensure_plain(&self, found: &Stat) -> io::Result<()> {
        match kind_of(found) {
            FileType::RegularFile => Ok(()),
            other => Err(strange(self.path(), in_kind_words(other))),
        }
    }

    /// Reads a plain file of at most `most` bytes. Returns `None` for a longer one. Safe for untrusted files.
    pub fn read_bounded(&self, most: u64) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        self.open_file()?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
        Ok((bytes.len() as u64 <= most).then_some(bytes))
    }

    /// Makes a file's content, or the names in a directory, survive a power cut.
    pub fn sync(&self) -> io::Result<()> {
        File::from(self.open(OFlags::RDONLY | OFlags::NONBLOCK)?).sync_all()
    }

    /// Makes everything written to the file system survive a power cut, in one call instead of one per file of a
    /// backup. Linux reports write errors through it since 5.8.
    pub fn sync_file_system(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(self.open(OFlags::RDONLY | OFlags::DIRECTORY)?)?)
    }

    /// Bytes that an ordinary user can still write to the file system.
    pub fn free_bytes(&self) -> io::Result<u64> {
        let found = fstatvfs(self.open(OFlags::RDONLY | OFlags::DIRECTORY)?)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// Opens the file or directory. Links are refused, at its name and on the way to it.
    pub fn open(&self, flags: OFlags) -> io::Result<OwnedFd> {
        let below = if self.below.as_os_str().is_empty() { Path::new(".") } else { &self.below };
        open_below(self.top()?, below, flags, ResolveFlags::empty()).map_err(|error| self.explained(error))
    }

    fn top(&self) -> io::Result<BorrowedFd<'_>> {
        self.top.as_ref().map(|top| top.as_fd()).ok_or_else(|| Errno::NOENT.into())
    }

    /// Calls `act` with the parent directory and the last name.
    fn in_parent<T>(&self, act: impl FnOnce(BorrowedFd<'_>, &OsStr) -> rustix::io::Result<T>) -> io::Result<T> {
        let (parent, name) = self.parent()?;
        act(parent.as_fd(), &name).map_err(|error| self.explained(error))
    }

    /// The parent directory and the last name.
    fn parent(&self) -> io::Result<(Arc<OwnedFd>, OsString)> {
        let name = self.below.file_name().ok_or(Errno::INVAL)?.to_owned();
        match (self.below.parent(), &self.top) {
            (_, None) => Err(Errno::NOENT.into()),
            (Some(above), Some(_)) if !above.as_os_str().is_empty() => {
                let above = Spot { below: above.to_owned(), ..self.clone() };
                Ok((Arc::new(above.open(OFlags::PATH | OFlags::DIRECTORY)?), name))
            }
            (_, Some(top)) => Ok((top.clone(), name)),
        }
    }

    /// Replaces the error by one that names a link, device or other strange file in the way.
    fn explained(&self, error: Errno) -> io::Error {
        let found = match error {
            Errno::LOOP | Errno::NOTDIR | Errno::NXIO | Errno::ISDIR => self.obstacle(),
            _ => None,
        };
        found.unwrap_or_else(|| error.into())
    }

    /// The first component that is something other than a directory.
    fn obstacle(&self) -> Option<io::Error> {
        let (mut above, mut path) = (self.top.clone()?, self.shown.clone());
        for name in names_of(&self.below).ok()? {
            path.push(name);
            let kind = kind_of(&statat(&above, name, AtFlags::SYMLINK_NOFOLLOW).ok()?);
            if kind != FileType::Directory {
                return Some(strange(path, in_kind_words(kind)));
            }
            above = Arc::new(openat(&above, name, HOLD | OFlags::NOFOLLOW, Mode::empty()).ok()?);
        }
        (path != self.shown).then(|| strange(path, in_kind_words(FileType::Directory)))
    }
}

/// Splits a path into plain names. `..` and absolute paths are refused.
fn names_of(below: &Path) -> rustix::io::Result<Vec<&OsStr>> {
    let name = |component| match component {
        Component::Normal(name) => Some(Ok(name)),
        Component::CurDir => None,
        _ => Some(Err(Errno::INVAL)),
    };
    below.components().filter_map(name).collect()
}

/// Opens a path below a directory without following links. If the kernel or the container's filter lacks the call
/// for that (Linux 5.6), it opens one component after the other.
fn open_below(top: impl AsFd, below: &Path, flags: OFlags, more: ResolveFlags) -> rustix::io::Result<OwnedFd> {
    names_of(below)?;
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | more;
    match openat2(&top, below, flags, Mode::empty(), resolve) {
        Err(Errno::NOSYS | Errno::PERM) => open_name_by_name(top.as_fd(), below, flags, more),
        opened => opened,
    }
}

fn open_name_by_name(
    top: BorrowedFd<'_>,
    below: &Path,
    flags: OFlags,
    more: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    let names = names_of(below)?;
    let Some((last, above)) = names.split_last() else { return openat(top, ".", flags, Mode::empty()) };
    let mut held: Option<OwnedFd> = None;
    for name in above {
        held = Some(openat(
            held.as_ref().map_or(top, |held| held.as_fd()),
            *name,
            HOLD | OFlags::NOFOLLOW,
            Mode::empty(),
        )?);
    }
    let opened = openat(held.as_ref().map_or(top, |held| held.as_fd()), *last, flags, Mode::empty())?;
    // A mount of the same file system is detected by the newer call alone.
    if more.contains(ResolveFlags::NO_XDEV) && fstat(&opened)?.st_dev != fstat(top)?.st_dev {
        return Err(Errno::XDEV);
    }
    Ok(opened)
}

#[cfg(test)]
mod tests;

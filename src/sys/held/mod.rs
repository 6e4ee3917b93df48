//! Directories of a volume that are held open, and what lies below them.
//!
//! `clone` may run as root in a volume where others write. A path would lead it to wherever a link leads, and somebody can put a
//! link in a directory's place between a look and its use. So a volume's directory is opened once. Whatever lies below is
//! reached from that descriptor, name by name, and never through a link.

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

/// A file or a directory, there or not, below a directory that is held open.
#[derive(Clone, Debug)]
pub struct Spot {
    /// `None`: nothing is ever found there.
    top: Option<Arc<OwnedFd>>,
    /// What the held directory is called in messages.
    shown: PathBuf,
    below: PathBuf,
}

/// What can be held open: the path of a directory, as somebody configured it, or one that is held already.
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

/// Root follows only a link that root has made: whoever may write beside a directory could lead it anywhere.
fn ensure_nobody_elses_link(path: &Path) -> io::Result<()> {
    let found = fstat(openat(CWD, path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)?;
    let is_link = kind_of(&found) == FileType::Symlink;
    match is_link && geteuid().is_root() && found.st_uid != 0 {
        true => Err(strange(path.to_owned(), "a symbolic link that another user than root has made")),
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
    /// Holds a directory. Its path is the user's, and may lead through links.
    pub fn of(path: &Path) -> io::Result<Spot> {
        let top = openat(CWD, path, HOLD, Mode::empty())?;
        Ok(Spot { top: Some(Arc::new(top)), shown: path.to_owned(), below: PathBuf::new() })
    }

    /// A directory that is not there.
    pub fn nowhere(path: PathBuf) -> Spot {
        Spot { top: None, shown: path, below: PathBuf::new() }
    }

    /// What lies below by this path, which has names only.
    pub fn join(&self, name: impl AsRef<Path>) -> Spot {
        Spot { below: self.below.join(name), ..self.clone() }
    }

    /// The path, for messages and for the configuration: no file is opened by it.
    pub fn path(&self) -> PathBuf {
        if self.below.as_os_str().is_empty() { self.shown.clone() } else { self.shown.join(&self.below) }
    }

    /// The same directory, held: a swap of its name changes nothing any more.
    pub fn held(&self) -> io::Result<Spot> {
        let top = self.open(OFlags::PATH | OFlags::DIRECTORY)?;
        Ok(Spot { top: Some(Arc::new(top)), shown: self.path(), below: PathBuf::new() })
    }

    /// Has the children that are started from now on hold the directory too, so that [`Spot::way`] leads there in them.
    pub fn for_children(self) -> io::Result<Spot> {
        if let Some(top) = &self.top {
            fcntl_setfd(top.as_fd(), FdFlags::empty())?;
            names::remember(top.as_raw_fd(), &self.shown);
        }
        Ok(self)
    }

    /// A path that begins at the held directory, whatever has its name by now: for programs, and for modules that take paths.
    /// Below that, it follows links as every path does.
    pub fn way(&self) -> PathBuf {
        // The last name of a path must not be the link in /proc.
        self.way_to_top().join(if self.below.as_os_str().is_empty() { Path::new(".") } else { &self.below })
    }

    fn way_to_top(&self) -> PathBuf {
        match &self.top {
            Some(top) => format!("/proc/self/fd/{}", top.as_raw_fd()).into(),
            None => "/proc/self/fd/none".into(),
        }
    }

    /// Where the directory really is.
    pub fn real_path(&self) -> io::Result<PathBuf> {
        std::fs::read_link(self.held()?.way_to_top())
    }

    /// What is there, as it is; a link is one.
    pub fn look(&self) -> io::Result<Stat> {
        if self.below.as_os_str().is_empty() {
            return Ok(fstat(self.top()?)?);
        }
        self.in_parent(|parent, name| statat(parent, name, AtFlags::SYMLINK_NOFOLLOW))
    }

    /// Whether anything has the name, if only a link to nowhere.
    pub fn exists(&self) -> bool {
        self.look().is_ok()
    }

    /// Whether names can be made and removed in a directory.
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

    /// Opens a plain file for reading. It never waits, as for a fifo's other end.
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

    /// Reads a plain file of at most so many bytes; `None` where it has more. Whoever wrote it need not be trusted.
    pub fn read_bounded(&self, most: u64) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        self.open_file()?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
        Ok((bytes.len() as u64 <= most).then_some(bytes))
    }

    /// Makes the names in a directory, or what is in a file, outlast a power cut.
    pub fn sync(&self) -> io::Result<()> {
        File::from(self.open(OFlags::RDONLY | OFlags::NONBLOCK)?).sync_all()
    }

    /// Makes everything written to the file system outlast a power cut: one call instead of one for each of a backup's files.
    /// Linux reports write errors through it since 5.8.
    pub fn sync_file_system(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(self.open(OFlags::RDONLY | OFlags::DIRECTORY)?)?)
    }

    /// Bytes that an ordinary user can still write to the file system.
    pub fn free_bytes(&self) -> io::Result<u64> {
        let found = fstatvfs(self.open(OFlags::RDONLY | OFlags::DIRECTORY)?)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// Opens what is there, unless it is reached through a link or is one.
    pub fn open(&self, flags: OFlags) -> io::Result<OwnedFd> {
        let below = if self.below.as_os_str().is_empty() { Path::new(".") } else { &self.below };
        open_below(self.top()?, below, flags, ResolveFlags::empty()).map_err(|error| self.explained(error))
    }

    fn top(&self) -> io::Result<BorrowedFd<'_>> {
        self.top.as_ref().map(|top| top.as_fd()).ok_or_else(|| Errno::NOENT.into())
    }

    /// Does something to the name in its directory.
    fn in_parent<T>(&self, act: impl FnOnce(BorrowedFd<'_>, &OsStr) -> rustix::io::Result<T>) -> io::Result<T> {
        let (parent, name) = self.parent()?;
        act(parent.as_fd(), &name).map_err(|error| self.explained(error))
    }

    /// The directory that the name stands in, and the name.
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

    /// An error in words, where something strange is in the way.
    fn explained(&self, error: Errno) -> io::Error {
        let found = match error {
            Errno::LOOP | Errno::NOTDIR | Errno::NXIO | Errno::ISDIR => self.obstacle(),
            _ => None,
        };
        found.unwrap_or_else(|| error.into())
    }

    /// The first name on the way that is no directory.
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

/// Names only: nothing that leads up, nor to a root.
fn names_of(below: &Path) -> rustix::io::Result<Vec<&OsStr>> {
    let name = |component| match component {
        Component::Normal(name) => Some(Ok(name)),
        Component::CurDir => None,
        _ => Some(Err(Errno::INVAL)),
    };
    below.components().filter_map(name).collect()
}

/// Opens what lies below a directory, through no link. Where the kernel, or the container's filter, does not know the call for
/// that (Linux 5.6), name after name is opened.
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
    // A mount of the same file system is seen by the newer call alone.
    if more.contains(ResolveFlags::NO_XDEV) && fstat(&opened)?.st_dev != fstat(top)?.st_dev {
        return Err(Errno::XDEV);
    }
    Ok(opened)
}

#[cfg(test)]
mod tests;

//! Replaces files atomically and renames them, relative to a held directory.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, fchmod, openat, renameat, renameat_with, statat, unlinkat};
use rustix::io::Errno;

use super::{Spot, Taker};
use crate::sys::durable::temporary_of;

const NEW: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Spot {
    /// Replaces the file by one with `content`. Returns once that would survive a power cut. The new file gets
    /// its owner before its name.
    pub fn replace(&self, content: &[u8], mode: u32, taker: Option<Taker>) -> io::Result<()> {
        let (parent, name) = self.parent()?;
        let temporary = temporary_of(&name);
        let beside = Spot { below: self.below.with_file_name(&temporary), ..self.clone() };
        // The leftover of an interrupted run.
        beside.remove_if_there()?;
        let written = beside
            .write_new(parent.as_fd(), &temporary, content, mode, taker)
            .and_then(|()| renameat(&parent, &temporary, &parent, &name).map_err(|error| self.explained(error)));
        if written.is_err() {
            let _ = unlinkat(&parent, &temporary, AtFlags::empty());
        }
        written?;
        File::from(openat(&parent, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
            .sync_all()
    }

    fn write_new(
        &self,
        parent: BorrowedFd<'_>,
        name: &OsString,
        content: &[u8],
        mode: u32,
        taker: Option<Taker>,
    ) -> io::Result<()> {
        let file = openat(parent, name, NEW, mode.into()).map_err(|error| self.explained(error))?;
        fchmod(&file, mode.into())?;
        let mut file = File::from(file);
        file.write_all(content)?;
        if let Some(taker) = taker {
            taker.give_file(&file, &self.path())?;
        }
        file.sync_all()
    }

    /// Creates an empty file. Fails if the name is taken.
    pub fn make_file(&self, mode: u32) -> io::Result<()> {
        let (parent, name) = self.parent()?;
        Ok(openat(&parent, &name, NEW, mode.into()).map(drop)?)
    }

    /// Renames the file. Fails if the new name is taken.
    pub fn rename_over_nothing(&self, to: &Spot) -> io::Result<()> {
        let ((from, name), (there, new)) = (self.parent()?, to.parent()?);
        match renameat_with(&from, &name, &there, &new, RenameFlags::NOREPLACE) {
            // Some file systems lack the flag. A check before the rename suffices, because only we write there.
            Err(Errno::INVAL) => match statat(&there, &new, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => Err(Errno::EXIST.into()),
                Err(_) => Ok(renameat(&from, &name, &there, &new)?),
            },
            result => Ok(result?),
        }
    }

    /// Renames the directory. An empty directory of the new name is replaced.
    pub fn rename(&self, to: &Spot) -> io::Result<()> {
        let ((from, name), (there, new)) = (self.parent()?, to.parent()?);
        renameat(&from, &name, &there, &new).map_err(|error| to.explained(error))
    }

    /// Swaps the names of the two.
    pub fn exchange_with(&self, other: &Spot) -> io::Result<()> {
        let ((from, name), (there, new)) = (self.parent()?, other.parent()?);
        Ok(renameat_with(&from, &name, &there, &new, RenameFlags::EXCHANGE)?)
    }
}

//! Limits a stream to the volume's free space, minus a reserve. Holes count like bytes.
//!
//! A hole takes no space until prepare or a server writes to it, which may happen at any time. So a stream that
//! claims more than the volume can hold is ended as soon as it claims that.

use std::os::fd::AsFd;
use std::path::Path;

use crate::unpack::UnpackError;

/// The space that prepare and a server's start need on any volume, in bytes.
const RESERVE: u64 = 16 << 20;

/// The number of bytes between two checks of the volume.
const EVERY: u64 = 32 << 20;

/// Counts the space that a stream claims.
#[derive(Default)]
pub struct Room {
    /// Bytes of holes in all files.
    holes: u64,
    /// Bytes written since the last check.
    written: u64,
}

impl Room {
    /// Counts bytes passed on to be written.
    pub fn write(&mut self, volume: (impl AsFd, &Path), bytes: u64) -> Result<(), UnpackError> {
        self.written += bytes;
        if self.written < EVERY {
            return Ok(());
        }
        self.look(volume)
    }

    /// Counts a hole that has made a file longer.
    pub fn leave(&mut self, volume: (impl AsFd, &Path), hole: u64) -> Result<(), UnpackError> {
        self.holes = self.holes.saturating_add(hole);
        if hole == 0 { Ok(()) } else { self.look(volume) }
    }

    fn look(&mut self, (volume, path): (impl AsFd, &Path)) -> Result<(), UnpackError> {
        self.written = 0;
        let found = rustix::fs::fstatvfs(volume)
            .map_err(|error| UnpackError::Output { path: path.to_owned(), source: error.into() })?;
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        match self.holes.checked_add(RESERVE) {
            Some(needed) if needed <= free => Ok(()),
            _ => Err(UnpackError::NoRoom { holes: self.holes, free }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn holes_count_like_bytes() {
        let file = File::open(std::env::temp_dir()).unwrap();
        let volume = (&file, Path::new("/tmp"));
        let found = rustix::fs::fstatvfs(&file).unwrap();
        let free = found.f_bavail * found.f_frsize;
        let mut room = Room::default();
        room.leave(volume, 1 << 20).unwrap();
        room.write(volume, EVERY).unwrap();
        assert!(matches!(room.leave(volume, free), Err(UnpackError::NoRoom { holes, .. }) if holes > free));
        assert!(matches!(room.leave(volume, u64::MAX), Err(UnpackError::NoRoom { .. })));
        // The volume is checked again even for little data.
        let little = (0..EVERY / (1 << 20)).map(|_| room.write(volume, 1 << 20));
        assert!(little.last().unwrap().is_err());
    }
}

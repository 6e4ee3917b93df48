//! A disk that can lose its power: an ext4 file system in a file, behind a loop device.
//!
//! The file holds everything that the file system has written to its disk. A copy of the file, taken now, loses
//! everything else. For five minutes the file system writes only on request, and a rename alone syncs no data.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Lab;
use super::volume::{Place, Volume};

const BYTES: u64 = 320 << 20;

/// A mounted disk.
pub struct Disk<'a> {
    lab: &'a Lab,
    image: PathBuf,
    mount_point: PathBuf,
}

impl<'a> Disk<'a> {
    /// Makes an empty disk.
    pub fn new(lab: &'a Lab, name: &str) -> Result<Disk<'a>> {
        let image = lab.path(&format!("{name}.ext4"));
        std::fs::File::create_new(&image)?.set_len(BYTES)?;
        lab.run("mkfs.ext4", &["-q", "-F", "-E", "nodiscard,lazy_itable_init=1", "-J", "size=8", text(&image)?])?;
        Disk::mount(lab, name, image)
    }

    /// Cuts its power now, and returns the disk as it comes back.
    pub fn lose_power(&self, name: &str) -> Result<Disk<'a>> {
        let image = self.lab.path(&format!("{name}.ext4"));
        self.lab.run("cp", &["--sparse=always", text(&self.image)?, text(&image)?])?;
        Disk::mount(self.lab, name, image)
    }

    pub fn volume(&self, place: Place) -> Result<Volume> {
        Volume::at(self.lab, self.mount_point.clone(), place)
    }

    fn mount(lab: &'a Lab, name: &str, image: PathBuf) -> Result<Disk<'a>> {
        let mount_point = lab.path(name);
        std::fs::create_dir(&mount_point)?;
        let options = "loop,commit=300,noauto_da_alloc";
        lab.run("mount", &["-t", "ext4", "-o", options, text(&image)?, text(&mount_point)?])
            .context("no loop device can be mounted, so no loss of power can be tested")?;
        Ok(Disk { lab, image, mount_point })
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        if let Ok(mount_point) = text(&self.mount_point)
            && let Err(error) = self.lab.run("umount", &["--lazy", mount_point])
        {
            eprintln!("{error:#}");
        }
        let _ = std::fs::remove_dir(&self.mount_point);
        let _ = std::fs::remove_file(&self.image);
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path in UTF-8")
}

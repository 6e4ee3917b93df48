//! A recipient's volume: a file system in memory whose size can be changed while it is used.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::process::{run, wait_for};

/// Room for all that is cloned here.
const ROOMY: u64 = 4 << 30;

pub struct Volume(PathBuf);

impl Volume {
    /// Mounts an empty one.
    pub fn mount(path: &Path) -> Result<Volume> {
        std::fs::create_dir_all(path)?;
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={ROOMY}"), "none"]).arg(path))?;
        Ok(Volume(path.to_owned()))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn data(&self) -> PathBuf {
        self.0.join("mysql")
    }

    /// Lifts any limit.
    pub fn make_roomy(&self) -> Result<()> {
        resize(&self.0, ROOMY)
    }

    /// Bytes in use.
    pub fn used(&self) -> Result<u64> {
        used(&self.0)
    }

    /// The state in the journal of the data directory, or else of the stage.
    pub fn state(&self) -> Option<String> {
        let places = ["mysql/.mysqlset.json", ".mysqlset-mysql-stage/.mysqlset.json"];
        let text = places.iter().find_map(|place| std::fs::read(self.0.join(place)).ok())?;
        let journal: serde_json::Value = serde_json::from_slice(&text).ok()?;
        Some(journal.get("state")?.as_str()?.to_owned())
    }

    /// Whether the data directory holds anything that a server could take for its own.
    pub fn holds_data(&self) -> Result<bool> {
        let entries = match std::fs::read_dir(self.data()) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            entries => entries?,
        };
        for entry in entries {
            if !entry?.file_name().to_string_lossy().starts_with(".mysqlset") {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // A process with an open file keeps the mount until it ends.
        let _ = run(Command::new("umount").arg("--lazy").arg(&self.0));
    }
}

/// Shrinks a volume until only this much is free. A process that writes meanwhile may be faster for a while.
pub fn leave_free(volume: &Path, bytes: u64) -> Result<()> {
    wait_for("a volume to be made small", Duration::from_secs(10), || {
        // A size of zero would mean no limit.
        Ok(resize(volume, (used(volume)? + bytes).max(1 << 12)).ok())
    })
}

fn used(volume: &Path) -> Result<u64> {
    let space = rustix::fs::statvfs(volume)?;
    Ok((space.f_blocks - space.f_bfree) * space.f_frsize)
}

fn resize(volume: &Path, bytes: u64) -> Result<()> {
    run(Command::new("mount").args(["-o", &format!("remount,size={bytes}")]).arg(volume)).map(drop)
}

//! A program under the backup tool's name, before the real one in the path.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::Result;

use super::Lab;
use super::points::Point;

/// The tool's path in Debian's package.
pub const REAL: &str = "/usr/bin/mariadb-backup";

/// It acts as the real tool, except for a prepare.
pub struct Tool {
    /// The tool's directory, for a `PATH`.
    pub directory: PathBuf,
}

impl Tool {
    pub fn new(lab: &Lab, when_it_is_to_prepare: &str) -> Result<Tool> {
        let directory = lab.path("tool");
        std::fs::create_dir(&directory)?;
        let tool = Tool { directory };
        let program = tool.directory.join("mariadb-backup");
        let script =
            format!("#!/bin/sh\ncase \"$*\" in *--prepare*) {when_it_is_to_prepare};; esac\nexec {REAL} \"$@\"\n");
        std::fs::write(&program, script)?;
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
        Ok(tool)
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// The real tool under strace, which kills it at a point.
pub fn killing(point: &Point) -> String {
    format!("strace {} {REAL} \"$@\"", point.arguments().join(" "))
}

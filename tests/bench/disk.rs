//! The same state of caches and disk before each sample.

use std::io::Read;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::run;

/// Waits until nothing is left to be written, what was deleted included.
pub fn settle() -> Result<()> {
    run(&mut Command::new("sync")).map(drop)
}

/// Has the page cache hold a file, or all files below a directory.
pub fn warm(path: &Path) -> Result<()> {
    let mut buffer = vec![0; 1 << 20];
    let mut left = vec![path.to_owned()];
    while let Some(next) = left.pop() {
        if next.is_dir() {
            for entry in std::fs::read_dir(&next)? {
                left.push(entry?.path());
            }
        } else {
            match std::fs::File::open(&next) {
                Ok(mut file) => while file.read(&mut buffer).with_context(|| next.display().to_string())? > 0 {},
                // A server's socket, or a file that went away.
                Err(_) => continue,
            }
        }
    }
    Ok(())
}

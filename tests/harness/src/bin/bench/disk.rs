//! Files: removed, read, and the same state of caches and disk before each sample.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::run;

/// Threads that remove files.
const REMOVERS: usize = 32;

/// Waits until all writes are done, including deletions.
pub fn settle() -> Result<()> {
    run(&mut Command::new("sync")).map(drop)
}

/// Loads a file, or all files below a directory, into the page cache.
pub fn warm(path: &Path) -> Result<()> {
    let mut buffer = vec![0; 1 << 20];
    let files = if path.is_dir() { files_below(path)? } else { vec![path.to_owned()] };
    for file in files {
        // A server's socket cannot be opened, and the server may remove files meanwhile.
        let Ok(mut open) = std::fs::File::open(&file) else { continue };
        while open.read(&mut buffer).with_context(|| file.display().to_string())? > 0 {}
    }
    Ok(())
}

/// Removes a directory with its contents, if it exists.
///
/// It removes the files first, in parallel. Some file systems tell their disk of each free block and wait for it: one
/// by one, 20,000 tables would take minutes.
pub fn remove(directory: &Path) -> Result<()> {
    let removing = || format!("removing {}", directory.display());
    if !directory.exists() {
        return Ok(());
    }
    let files = files_below(directory).with_context(removing)?;
    let share = files.len().div_ceil(REMOVERS).max(1);
    std::thread::scope(|scope| {
        let removers: Vec<_> = (files.chunks(share))
            .map(|files| scope.spawn(move || files.iter().try_for_each(std::fs::remove_file)))
            .collect();
        removers.into_iter().try_for_each(|remover| remover.join().expect("a remover"))
    })
    .with_context(removing)?;
    std::fs::remove_dir_all(directory).with_context(removing)
}

/// Everything except directories.
pub fn files_below(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let (mut files, mut directories) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(next) = directories.pop() {
        for entry in std::fs::read_dir(next)? {
            let entry = entry?;
            let list = if entry.file_type()?.is_dir() { &mut directories } else { &mut files };
            list.push(entry.path());
        }
    }
    Ok(files)
}

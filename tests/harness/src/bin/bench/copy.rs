//! A donor's tables copied past the page cache, reading one piece while another is written: a plain copy.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use anyhow::{Context, Result};
use rustix::fs::OFlags;

use crate::disk::{self, files_below};

const PIECE: usize = 1 << 20;

/// Pieces that were read and await their write.
const WAITING: usize = 8;

/// O_DIRECT's alignment of addresses, offsets and lengths. (open(2))
const ALIGNMENT: usize = 4096;

/// A part of a file, or its end where it holds nothing.
struct Piece {
    memory: Vec<u8>,
    length: usize,
}

impl Piece {
    fn new() -> Piece {
        Piece { memory: vec![0; PIECE + ALIGNMENT], length: 0 }
    }

    fn room(&mut self) -> &mut [u8] {
        let start = self.memory.as_ptr().align_offset(ALIGNMENT);
        &mut self.memory[start..][..PIECE]
    }
}

/// In seconds, up to the sync of the last byte. The copy is removed.
pub fn run(data_dir: &Path, work: &Path) -> Result<f64> {
    let target = work.join("copy");
    disk::remove(&target)?;
    std::fs::create_dir(&target)?;
    let is_table = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".ibd") || name.starts_with("ibdata")
    };
    let files: Vec<PathBuf> = files_below(data_dir)?.into_iter().filter(is_table).collect();
    let started = Instant::now();
    let (read, to_write) = sync_channel(WAITING);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| read_all(&files, read));
        let written = write_all(&target, files.len(), &to_write);
        drop(to_write);
        let read = reader.join().expect("the reader");
        read.and(written)
    })?;
    rustix::fs::syncfs(File::open(&target)?)?;
    let wall = started.elapsed().as_secs_f64();
    disk::remove(&target)?;
    Ok(wall)
}

fn read_all(files: &[PathBuf], pieces: SyncSender<Piece>) -> Result<()> {
    for path in files {
        let mut file = past_the_cache(OpenOptions::new().read(true)).open(path)?;
        loop {
            let mut piece = Piece::new();
            piece.length = file.read(piece.room()).with_context(|| path.display().to_string())?;
            let is_end = piece.length == 0;
            if pieces.send(piece).is_err() {
                // The writer has failed, and reports it.
                return Ok(());
            }
            if is_end {
                break;
            }
        }
    }
    Ok(())
}

fn write_all(target: &Path, files: usize, pieces: &Receiver<Piece>) -> Result<()> {
    for number in 0..files {
        let mut options = OpenOptions::new();
        let file = past_the_cache(options.write(true).create_new(true)).open(target.join(number.to_string()))?;
        let mut at = 0;
        loop {
            let mut piece = pieces.recv().context("nobody reads")?;
            if piece.length == 0 {
                break;
            }
            let length = piece.length.next_multiple_of(ALIGNMENT);
            file.write_all_at(&piece.room()[..length], at)?;
            at += piece.length as u64;
        }
        file.set_len(at)?;
    }
    Ok(())
}

fn past_the_cache(options: &mut OpenOptions) -> &mut OpenOptions {
    options.custom_flags(OFlags::DIRECT.bits() as i32)
}

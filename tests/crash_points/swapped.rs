//! A program exchanges the stage for a link to another directory, again and again. Meanwhile a real clone receives,
//! prepares, rehearses and publishes as root. The other directory stays unchanged, and the copy is whole.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::lab::Lab;
use harness::lab::demands::{Look, of_the_next_start};
use harness::lab::volume::{Place, Volume};

/// A clone takes a second or two.
const ROUNDS: u64 = 3;

const DEADLINE: Duration = Duration::from_secs(120);

#[test]
fn swapped_beside() -> Result<()> {
    swap_while_it_clones(Place::Beside)
}

#[test]
fn swapped_inside() -> Result<()> {
    swap_while_it_clones(Place::Inside)
}

fn swap_while_it_clones(place: Place) -> Result<()> {
    let lab = Lab::start()?;
    let outside = lab.seen(&lab.path("outside"))?;
    for name in ["data/mysql/user", "data/ibdata1", "run/file", "shadow/file", ".mysqlset.json", "inventory", "file"] {
        let path = outside.join(name);
        std::fs::create_dir_all(path.parent().context("a directory")?)?;
        std::fs::write(path, "theirs")?;
    }
    let before = tree(&outside)?;
    let begun = Instant::now();
    let mut swaps = 0;
    for round in 0..ROUNDS {
        if begun.elapsed() > DEADLINE {
            break;
        }
        let volume = Volume::new(&lab, "volume", place)?;
        let stage = volume.staged_data().parent().context("a stage")?.to_owned();
        let is_over = AtomicBool::new(false);
        let output = std::thread::scope(|scope| {
            let swapping = scope.spawn(|| swap(&lab, &stage, round, &is_over));
            let over = Over(&is_over);
            let output = lab.clone(&volume);
            drop(over);
            swaps += swapping.join().map_err(|_| anyhow::anyhow!("the swapping thread has panicked"))?;
            output
        })?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(tree(&outside)? == before, "round {round}: something outside has changed: {} {said}", output.status);
        ensure!(output.status.code().is_some(), "round {round}: {} {said}", output.status);
        // The next start is undisturbed, after any outcome of this clone.
        of_the_next_start(&lab, &volume, Look::AtRows).with_context(|| format!("round {round}: {said}"))?;
        ensure!(tree(&outside)? == before, "round {round}, the next start: something outside has changed");
        volume.remove()?;
    }
    ensure!(swaps > 20, "{swaps} swaps");
    Ok(())
}

/// Ends the swapping after any outcome of the clone.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Returns the number of swaps.
fn swap(lab: &Lab, stage: &Path, round: u64, is_over: &AtomicBool) -> u32 {
    let away = stage.with_file_name(".mysqlset-away");
    // The path as the clone sees it.
    let outside = lab.path("outside");
    let mut swaps = 0;
    while !is_over.load(Ordering::Relaxed) {
        let is_away = std::fs::rename(stage, &away).is_ok();
        if is_away && symlink(&outside, stage).is_ok() {
            swaps += 1;
            std::thread::sleep(Duration::from_millis(1 + 7 * round));
            let _ = std::fs::remove_file(stage);
        }
        if is_away {
            let _ = std::fs::rename(&away, stage);
        }
        std::thread::sleep(Duration::from_millis(1 + round));
    }
    // The remains of a stage that the clone has given up meanwhile.
    let _ = std::fs::remove_dir_all(&away);
    let _ = std::fs::remove_dir(stage);
    swaps
}

type Tree = BTreeMap<PathBuf, (u32, u32, u32, Vec<u8>)>;

/// Owner, group, mode and content of each name.
fn tree(directory: &Path) -> Result<Tree> {
    let (mut found, mut rest) = (Tree::new(), vec![directory.to_owned()]);
    while let Some(path) = rest.pop() {
        let metadata = path.symlink_metadata()?;
        let content = if metadata.is_file() { std::fs::read(&path)? } else { Vec::new() };
        if metadata.is_dir() {
            for entry in std::fs::read_dir(&path)? {
                rest.push(entry?.path());
            }
        }
        found.insert(path, (metadata.uid(), metadata.gid(), metadata.mode(), content));
    }
    Ok(found)
}

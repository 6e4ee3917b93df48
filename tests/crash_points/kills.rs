//! `clone` killed at each of its calls that change the disk, on an empty volume and on one that a kill left.

use anyhow::{Context, Result, ensure};
use harness::lab::Lab;
use harness::lab::demands::{Look, at_the_kill, of_a_finished_clone, of_going_on, of_the_next_start};
use harness::lab::points::{self, FILES, NAMES, Point, SYNCS};
use harness::lab::volume::{Place, Volume};
use harness::needs;

/// A start that receives again is an ordinary clone after any kill. One in this many has its rows compared.
const ROWS_OF_EVERY: usize = 8;

#[test]
fn names_beside() -> Result<()> {
    kill_at_each(NAMES, Place::Beside)
}

#[test]
fn names_inside() -> Result<()> {
    kill_at_each(NAMES, Place::Inside)
}

#[test]
fn syncs_beside() -> Result<()> {
    kill_at_each(SYNCS, Place::Beside)
}

#[test]
fn syncs_inside() -> Result<()> {
    kill_at_each(SYNCS, Place::Inside)
}

#[test]
fn files_beside() -> Result<()> {
    kill_at_each(FILES, Place::Beside)
}

#[test]
fn files_inside() -> Result<()> {
    kill_at_each(FILES, Place::Inside)
}

/// The second start throws away or continues what the first one left. It is killed as well.
#[test]
fn killed_twice() -> Result<()> {
    needs!(BackupTool);
    let lab = Lab::start()?;
    for place in [Place::Beside, Place::Inside] {
        for (first, seconds) in [
            // Half received: the next start throws that away.
            (Point::at("pwrite64", 150), [("unlinkat", 1), ("unlinkat", 2), ("unlinkat", 40), ("mkdirat", 1)]),
            // Received and synced: the next start prepares it.
            (Point::at("fchmod", 3), [("renameat", 1), ("renameat", 2), ("syncfs", 1), ("fchownat", 3)]),
        ] {
            for (call, number) in seconds {
                let second = Point::at(call, number);
                let volume = Volume::new(&lab, "volume", place)?;
                let outcome = [&first, &second].into_iter().try_for_each(|point| {
                    ensure!(lab.clone_and_kill(&volume, point)?, "{point}: was not reached");
                    at_the_kill(&lab, &volume).map(drop)
                });
                outcome
                    .and_then(|()| of_the_next_start(&lab, &volume, Look::AtRows))
                    .with_context(|| format!("{place:?}: {first}, then {second}"))?;
                volume.remove()?;
            }
        }
    }
    Ok(())
}

fn kill_at_each(kinds: &[&str], place: Place) -> Result<()> {
    let lab = Lab::start()?;
    let volume = Volume::new(&lab, "undisturbed", place)?;
    let points = points::list(&lab, &volume, kinds)?;
    of_a_finished_clone(&lab, &volume, Look::AtRows)?;
    for (index, point) in points.iter().enumerate() {
        let volume = Volume::new(&lab, "volume", place)?;
        kill_and_start_again(&lab, &volume, point, index.is_multiple_of(ROWS_OF_EVERY))
            .with_context(|| format!("{place:?}: {point}"))?;
        volume.remove()?;
    }
    println!("{place:?}: killed at {} points", points.len());
    Ok(())
}

fn kill_and_start_again(lab: &Lab, volume: &Volume, point: &Point, look_at_rows: bool) -> Result<()> {
    let killed = lab.clone_and_kill(volume, point)?;
    ensure!(killed || point.may_be_missed(), "was not reached");
    let left = at_the_kill(lab, volume)?;
    let look = if left.holds_a_backup() || look_at_rows { Look::AtRows } else { Look::AtNames };
    of_going_on(lab, volume, &left, look)
}

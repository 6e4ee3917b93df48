//! The power is lost when `clone` reaches a call, or right after it reported success.

use anyhow::{Context, Result, ensure};
use harness::lab::Lab;
use harness::lab::demands::{Look, at_the_kill, of_going_on, of_the_next_start};
use harness::lab::disk::Disk;
use harness::lab::points::{self, Point};
use harness::lab::volume::{Place, Volume};

/// The order of these calls decides what a loss of power leaves.
const ORDER: &[&str] = &["rename", "renameat", "renameat2", "fsync", "fdatasync", "syncfs", "unlinkat", "rmdir"];

#[test]
fn lost_at_a_call_beside() -> Result<()> {
    lose_at_each(Place::Beside)
}

#[test]
fn lost_at_a_call_inside() -> Result<()> {
    lose_at_each(Place::Inside)
}

#[test]
fn lost_when_all_is_done() -> Result<()> {
    let lab = Lab::start()?;
    for place in [Place::Beside, Place::Inside] {
        let disk = Disk::new(&lab, "disk")?;
        lab.clone_to_the_end(&disk.volume(place)?)?;
        let after = disk.lose_power("after")?;
        demand_it_lasts(&lab, &after.volume(place)?)
            .with_context(|| format!("{place:?}: power lost after a clone that was done"))?;
    }
    Ok(())
}

/// The copy is published and whole before the next start, and in order after it.
fn demand_it_lasts(lab: &Lab, volume: &Volume) -> Result<()> {
    at_the_kill(lab, volume)?;
    let state = volume.state()?;
    ensure!(state.as_deref() == Some("published"), "the journal says {state:?}");
    of_the_next_start(lab, volume, Look::AtRows)
}

fn lose_at_each(place: Place) -> Result<()> {
    let lab = Lab::start()?;
    let undisturbed = Volume::new(&lab, "undisturbed", place)?;
    let points = points::list(&lab, &undisturbed, ORDER)?;
    for point in &points {
        lose_and_start_again(&lab, place, point).with_context(|| format!("{place:?}: power lost, {point}"))?;
    }
    println!("{place:?}: power lost at {} points", points.len());
    Ok(())
}

fn lose_and_start_again(lab: &Lab, place: Place, point: &Point) -> Result<()> {
    let disk = Disk::new(lab, "disk")?;
    let killed = lab.clone_and_kill(&disk.volume(place)?, point)?;
    let after = disk.lose_power("after")?;
    ensure!(killed || point.may_be_missed(), "was not reached");
    let volume = after.volume(place)?;
    let left = at_the_kill(lab, &volume)?;
    of_going_on(lab, &volume, &left, if left.holds_a_backup() { Look::AtRows } else { Look::AtNames })
}

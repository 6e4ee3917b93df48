//! Another process's changes to the volume while `clone` runs.

use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::place::{Place, tree};

/// Ends the swapping, also when the clone fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Another process of the volume exchanges the stage for a link again and again, as fast as it can.
#[test]
fn a_stage_that_is_swapped_for_a_link_leads_nowhere() {
    const ROUNDS: usize = 60;
    let deadline = Instant::now() + Duration::from_secs(60);
    let (mut rounds, mut swaps, mut published) = (0, 0, 0);
    while rounds < ROUNDS && Instant::now() < deadline {
        let place = Place::new();
        place.stage_copy();
        let before = tree(place.outside.path());
        let is_over = AtomicBool::new(false);
        let (stage, away) = (place.stage(), place.volume.path().join("away"));
        let ended = std::thread::scope(|scope| {
            let swapping = scope.spawn(|| {
                let mut swaps = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let is_away = std::fs::rename(&stage, &away).is_ok();
                    let is_swapped = symlink(place.outside.path(), &stage).is_ok();
                    std::thread::sleep(Duration::from_micros(rounds as u64 * 20 % 700));
                    if is_swapped {
                        let _ = std::fs::remove_file(&stage);
                    }
                    if is_away {
                        let _ = std::fs::rename(&away, &stage);
                    }
                    swaps += usize::from(is_swapped);
                    std::thread::sleep(Duration::from_micros(rounds as u64 * 30 % 900));
                }
                swaps
            });
            let over = Over(&is_over);
            let ended = place.clone(&["--rehearsal", "off"]);
            drop(over);
            swaps += swapping.join().unwrap();
            ended
        });
        assert!(tree(place.outside.path()) == before, "round {rounds}: {:?}\n{}", ended.code, ended.log);
        assert!(matches!(ended.code, Some(0 | 20 | 30 | 51)), "round {rounds}: {:?}\n{}", ended.code, ended.log);
        for (path, (_, _, _, content)) in tree(&place.data_dir()) {
            assert!(content != b"theirs", "{} was published\n{}", path.display(), ended.log);
        }
        rounds += 1;
        published += usize::from(ended.code == Some(0));
    }
    assert!(published > 0, "none of {rounds} came as far as publishing");
    assert!(rounds > 5 && swaps > rounds, "{swaps} swaps in {rounds} rounds");
}

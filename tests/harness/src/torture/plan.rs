//! The acts of a round.

use std::fmt;
use std::time::Duration;

use crate::dice::Dice;

/// A round's acts, the same for the same seed and number.
pub struct Plan {
    pub number: u64,
    /// The replica that is the round's target.
    pub target: &'static str,
    pub clones_again: bool,
    pub acts: Vec<Act>,
}

pub struct Act {
    /// The pause after the act before.
    pub after: Duration,
    pub pod: &'static str,
    pub what: What,
}

#[derive(Clone, Copy)]
pub enum What {
    Kill(&'static str),
    DeletePod,
    CutNetwork(Duration),
}

impl Plan {
    pub fn of(seed: u64, number: u64, latest: Duration) -> Plan {
        let mut dice = Dice::new(seed, number);
        let (target, donor) = if dice.below(2) == 0 { ("mysql-1", "mysql-0") } else { ("mysql-2", "mysql-1") };
        let clones_again = dice.below(4) > 0;
        let acts = (0..1 + dice.below(4)).map(|_| Act::of(&mut dice, target, donor, clones_again, latest)).collect();
        Plan { number, target, clones_again, acts }
    }
}

impl Act {
    /// Containers of the replica are hit more often than its surroundings. Its clone is hit only in a round with a
    /// clone.
    fn of(dice: &mut Dice, target: &'static str, donor: &'static str, clones_again: bool, latest: Duration) -> Act {
        let after = Duration::from_millis(dice.below(latest.as_millis() as u64 + 1));
        let first = if clones_again { 0 } else { 4 };
        let (pod, what) = match first + dice.below(14 - first) {
            0..4 => (target, What::Kill("clone")),
            4..7 => (target, What::Kill("sidecar")),
            7..9 => (target, What::Kill("mysql")),
            9 => (donor, What::Kill("sidecar")),
            10 => (donor, What::Kill("mysql")),
            11 => ("mysql-0", What::Kill("mysql")),
            12 => (target, What::DeletePod),
            _ => (target, What::CutNetwork(Duration::from_millis(100 + dice.below(900)))),
        };
        Act { after, pod, what }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.target, if self.clones_again { "cloned again" } else { "as it is" })?;
        self.acts.iter().try_for_each(|act| write!(f, ", {act}"))
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{} ms {}", self.after.as_millis(), self.pod)?;
        match self.what {
            What::Kill(container) => write!(f, " {container}"),
            What::DeletePod => write!(f, " deleted"),
            What::CutNetwork(time) => write!(f, " cut for {} ms", time.as_millis()),
        }
    }
}

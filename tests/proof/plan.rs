//! The rounds. The seed and a round's number alone determine it.

use std::fmt;

use harness::dice::Dice;

use crate::damage::{Class, Damage, Place, Victim};
use crate::data::Data;

/// The number of moments at which a run is killed.
const MOMENTS: u64 = 50;

/// Numbers of descriptors for each way to run out of them.
const DESCRIPTORS: u64 = 6;

const DISK_LEVELS: usize = 10;

/// Damaged copies, and their number for each copy without damage.
const DAMAGED: u64 = 540;
const PER_UNTOUCHED: u64 = 9;

/// The first is more than any tool here needs, the last is less than any tool can start with.
const MOST: u64 = 1600;
const FEWEST: u64 = 24;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    PrepareKilled,
    CloneKilled,
    Descriptors,
    DiskFull,
    Damaged,
    Untouched,
}

pub const KINDS: [Kind; 6] =
    [Kind::PrepareKilled, Kind::CloneKilled, Kind::Descriptors, Kind::DiskFull, Kind::Damaged, Kind::Untouched];

/// The program that runs out of descriptors, and the event that follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// `clone` has the soft limit of containers, and a sufficient hard limit.
    RecipientsSoftLimit,
    /// The hard limit of `clone` is this number.
    RecipientsHardLimit(u64),
    /// The tool that prepares has this limit each time.
    Prepare(u64),
    /// The tool has this limit in its first run; the next run has enough.
    PrepareOnce(u64),
    /// As before, and the tool is killed when it reports the shortage.
    PrepareThenKilled(u64),
    /// As before, and `clone` is killed with it.
    PrepareThenBothKilled(u64),
    /// The server that `clone` starts on the copy has this limit.
    Rehearsal(u64),
    DonorsSoftLimit,
    /// The tool that makes the backup has this limit.
    Backup(u64),
}

/// The moment at which the volume is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// After this many thousandths were received.
    Receiving(u64),
    /// When the tool prepares; this many bytes are left.
    Preparing(u64),
    /// When a server looks at the copy; this many bytes are left.
    Rehearsing(u64),
}

pub const LEVELS: [Full; DISK_LEVELS] = [
    Full::Receiving(50),
    Full::Receiving(400),
    Full::Receiving(700),
    Full::Receiving(980),
    Full::Preparing(0),
    Full::Preparing(64 << 10),
    Full::Preparing(1 << 20),
    Full::Preparing(8 << 20),
    Full::Rehearsing(0),
    Full::Rehearsing(256 << 10),
];

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum What {
    /// After this many thousandths of its undisturbed time.
    PrepareKilled(u64),
    CloneKilled(u64),
    Descriptors(Lack),
    DiskFull(Full),
    Damaged(Place, Victim, Damage),
    Untouched,
}

#[derive(Clone, Copy, Debug)]
pub struct Round {
    pub number: u64,
    pub data: Data,
    pub what: What,
}

impl Round {
    pub fn kind(&self) -> Kind {
        match self.what {
            What::PrepareKilled(_) => Kind::PrepareKilled,
            What::CloneKilled(_) => Kind::CloneKilled,
            What::Descriptors(_) => Kind::Descriptors,
            What::DiskFull(_) => Kind::DiskFull,
            What::Damaged(..) => Kind::Damaged,
            What::Untouched => Kind::Untouched,
        }
    }
}

/// All rounds of a seed, numbered from 1.
pub fn all(seed: u64) -> Vec<Round> {
    let mut rounds = Vec::new();
    let mut add = |data: Data, what: What| rounds.push(Round { number: rounds.len() as u64 + 1, data, what });
    let both = [Data::Changed, Data::Created];
    let dice = |salt: u64, number: u64| Dice::new(seed, salt << 32 | number);
    // Each moment stays within its own part of the run, and differs with each seed.
    let moment = |salt: u64, number: u64| (number * 1000 + dice(salt, number).below(1000)) / MOMENTS;
    for number in 0..MOMENTS {
        both.into_iter().for_each(|data| add(data, What::PrepareKilled(moment(1, number))));
    }
    for number in 0..MOMENTS {
        both.into_iter().for_each(|data| add(data, What::CloneKilled(moment(2, number))));
    }
    for number in 0..DESCRIPTORS {
        let part = (MOST - FEWEST) / DESCRIPTORS;
        let most = |salt: u64| FEWEST + number * part + dice(salt, number).below(part);
        for data in both {
            for lack in [
                Lack::RecipientsSoftLimit,
                Lack::RecipientsHardLimit(most(3)),
                Lack::Prepare(most(4)),
                Lack::PrepareOnce(most(5)),
                Lack::PrepareThenKilled(most(6)),
                Lack::PrepareThenBothKilled(most(7)),
                Lack::Rehearsal(most(8) / 4),
                Lack::DonorsSoftLimit,
                Lack::Backup(most(9)),
            ] {
                add(data, What::Descriptors(lack));
            }
        }
    }
    for level in LEVELS {
        both.into_iter().for_each(|data| add(data, What::DiskFull(level)));
    }
    let kinds = kinds_of_damage();
    for number in 0..DAMAGED {
        let (place, class, damage) = kinds[number as usize % kinds.len()];
        let victim = Victim { class, pick: dice(10, number).below(1 << 16) };
        add(Data::Zoo, What::Damaged(place, victim, damage));
        if number % PER_UNTOUCHED == PER_UNTOUCHED - 1 {
            add([Data::Zoo, Data::Changed, Data::Created][(number / PER_UNTOUCHED % 3) as usize], What::Untouched);
        }
    }
    rounds
}

/// A few of all rounds, spread over their kinds, for every run of the tests.
pub fn spread(seed: u64) -> Vec<Round> {
    let all = all(seed);
    let kinds = kinds_of_damage();
    let find = |wanted: &dyn Fn(&Round) -> bool| all.iter().find(|round| wanted(round)).copied();
    let damaged = |place: Place, class: Class, damage: Damage| {
        debug_assert!(kinds.contains(&(place, class, damage)));
        find(
            &move |round| matches!(round.what, What::Damaged(at, of, by) if (at, of.class, by) == (place, class, damage)),
        )
    };
    let lacks = |data: Data, lack: fn(Lack) -> bool| {
        find(&move |round| round.data == data && matches!(round.what, What::Descriptors(found) if lack(found)))
    };
    [
        find(&|round| matches!(round.what, What::PrepareKilled(500..)) && round.data == Data::Changed),
        find(&|round| matches!(round.what, What::CloneKilled(700..)) && round.data == Data::Created),
        lacks(Data::Changed, |lack| lack == Lack::RecipientsSoftLimit),
        lacks(Data::Created, |lack| lack == Lack::DonorsSoftLimit),
        lacks(Data::Changed, |lack| matches!(lack, Lack::PrepareThenBothKilled(500..1200))),
        find(&|round| round.what == What::DiskFull(Full::Preparing(64 << 10)) && round.data == Data::Created),
        damaged(Place::Stream, Class::Definition, Damage::LeftOut),
        damaged(Place::Stage, Class::FullText, Damage::LeftOut),
        damaged(Place::Donor, Class::Table, Damage::FirstPageZeroed),
        find(&|round| round.what == What::Untouched && round.data == Data::Zoo),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Every possible damage to a file of each class, at each place.
fn kinds_of_damage() -> Vec<(Place, Class, Damage)> {
    use Class::*;
    use Damage::*;
    let of_tables: &[Damage] = &[
        LeftOut,
        Emptied,
        Halved,
        LastPageCut,
        FirstPageZeroed,
        RootZeroed,
        LaterPageZeroed,
        AllZeroed,
        Swapped,
        Doubled,
    ];
    let of_files: &[Damage] = &[LeftOut, Emptied, Halved, AllZeroed, Swapped, Garbled];
    let of_text: &[Damage] = &[LeftOut, Emptied, Halved, Swapped];
    let single: &[Damage] = &[LeftOut, Emptied, Halved, AllZeroed];
    let tables: &[(Class, &[Damage])] = &[
        (Table, of_tables),
        (CompressedTable, &[LeftOut, Emptied, Halved, LastPageCut, FirstPageZeroed, RootZeroed, AllZeroed]),
        (Partition, &[LeftOut, Halved, FirstPageZeroed, Swapped, Doubled]),
        (FullText, &[LeftOut, Halved, FirstPageZeroed, Swapped]),
        (SystemTable, &[LeftOut, Halved, FirstPageZeroed]),
        (Definition, of_text),
        (SystemDefinition, &[LeftOut, Emptied, Halved]),
        (Partitions, of_text),
        (Trigger, &[LeftOut, Emptied, Halved, Swapped]),
        (TriggerName, &[LeftOut, Emptied, Swapped]),
        (DbOpt, &[LeftOut, Emptied, Halved]),
        (AriaData, of_files),
        (AriaIndex, of_files),
        (SystemAriaData, &[LeftOut, Halved]),
        (SystemAriaIndex, &[LeftOut, Halved]),
        (MyisamData, of_files),
        (MyisamIndex, of_files),
        (CsvData, &[LeftOut, Halved, Swapped]),
        (CsvMeta, &[LeftOut, Halved]),
        (Merge, &[LeftOut, Emptied]),
        (SystemTablespace, &[LeftOut, Halved, FirstPageZeroed, LastPageCut]),
    ];
    let streamed: &[(Class, &[Damage])] = &[
        (Redo, &[LeftOut, Emptied, Halved, AllZeroed]),
        (AriaLog, single),
        (AriaControl, single),
        (Checkpoints, single),
        (BinlogInfo, &[LeftOut, Emptied]),
        (Info, &[LeftOut, Emptied]),
        (OptionsFile, &[LeftOut, Emptied]),
    ];
    let mut kinds = Vec::new();
    for place in [Place::Stream, Place::Stage, Place::Donor] {
        for (class, damages) in tables {
            // A donor's system tablespace keeps its own server alive.
            if place != Place::Donor || *class != SystemTablespace {
                kinds.extend(damages.iter().map(|damage| (place, *class, *damage)));
            }
        }
    }
    kinds.extend(
        streamed.iter().flat_map(|(class, damages)| damages.iter().map(|damage| (Place::Stream, *class, *damage))),
    );
    // In the order of their numbers, damage of different places and classes stands side by side.
    let step = (1..kinds.len()).find(|step| step * 5 > kinds.len() * 2 && gcd(*step, kinds.len()) == 1).unwrap_or(1);
    (0..kinds.len()).map(|number| kinds[number * step % kinds.len()]).collect()
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Kind {
    /// The form that `ONLY` takes.
    pub fn name(self) -> &'static str {
        match self {
            Kind::PrepareKilled => "prepare-killed",
            Kind::CloneKilled => "clone-killed",
            Kind::Descriptors => "descriptors",
            Kind::DiskFull => "disk-full",
            Kind::Damaged => "damaged",
            Kind::Untouched => "untouched",
        }
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = |thousandths: u64| thousandths as f64 / 10.0;
        match self.what {
            What::PrepareKilled(part) => write!(f, "prepare killed at {:.1} %", parts(part))?,
            What::CloneKilled(part) => write!(f, "clone killed at {:.1} %", parts(part))?,
            What::Descriptors(lack) => match lack {
                Lack::RecipientsSoftLimit => write!(f, "recipient's soft limit 1024")?,
                Lack::RecipientsHardLimit(most) => write!(f, "recipient's hard limit {most}")?,
                Lack::Prepare(most) => write!(f, "prepare with {most} descriptors")?,
                Lack::PrepareOnce(most) => write!(f, "prepare with {most} descriptors once")?,
                Lack::PrepareThenKilled(most) => write!(f, "prepare with {most} descriptors, then killed")?,
                Lack::PrepareThenBothKilled(most) => write!(f, "prepare with {most} descriptors, then both killed")?,
                Lack::Rehearsal(most) => write!(f, "rehearsal with {most} descriptors")?,
                Lack::DonorsSoftLimit => write!(f, "donor's soft limit 1024")?,
                Lack::Backup(most) => write!(f, "backup with {most} descriptors")?,
            },
            What::DiskFull(full) => match full {
                Full::Receiving(part) => write!(f, "disk full at {:.1} % of the stream", parts(part))?,
                Full::Preparing(left) => write!(f, "disk full but for {left} bytes at prepare")?,
                Full::Rehearsing(left) => write!(f, "disk full but for {left} bytes at the rehearsal")?,
            },
            What::Damaged(place, victim, damage) => {
                write!(f, "{place}: {}, no. {}, {damage}", victim.class, victim.pick)?
            }
            What::Untouched => write!(f, "untouched")?,
        }
        write!(f, ", {}", self.data)
    }
}

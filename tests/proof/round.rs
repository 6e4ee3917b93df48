//! One round: a condition, and a clone under it. Afterwards the copy equals the donor's; or nothing is published, and a
//! start in normal conditions publishes.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::damage::expected::{Expected, expected};
use crate::damage::{Damage, Place, Victim, files};
use crate::data::Data;
use crate::donor::Donor;
use crate::noticed::{Noticed, by_whom};
use crate::orders::{Fill, Kill, Of, Orders};
use crate::plan::{Full, Lack, Round, What};
use crate::recipient::{Ended, Limits, Recipient, Start};

/// The limit of containers since containerd 2.0, and a sufficient hard limit.
const SOFT: Limits = Limits { soft: 1024, hard: 20_000 };

/// The number of starts that may fail once all obstacles are gone. One of them continues what an earlier one left.
const STARTS: usize = 3;

/// Exit codes of `clone` for an incomplete copy: no donor gave one, all refused, prepare, position, rehearsal.
const NOT_WHOLE: [i32; 5] = [20, 21, 41, 42, 44];

/// Exit codes for a shortage here: room, a limit.
const LACKING: [i32; 2] = [50, 52];

/// The exit code of "another mysqlset, or a backup tool that outlived one, works on the same data directory", and how
/// long that may last after a kill.
const LOCKED: i32 = 33;
const GONE_WITHIN: Duration = Duration::from_secs(20);

/// The donors and the recipient of one thread.
pub struct Lane {
    number: u8,
    directory: PathBuf,
    donors: BTreeMap<Data, Donor>,
    recipient: Recipient,
    /// The measures of an undisturbed clone of these data.
    measured: BTreeMap<Data, Measured>,
}

#[derive(Clone, Copy)]
struct Measured {
    clone: Duration,
    prepare: Duration,
    bytes: u64,
}

/// The outcome of a round.
pub struct Outcome {
    pub result: Outcomes,
    pub time: Duration,
    /// The end of the first clone, in words.
    pub ended: String,
}

pub enum Outcomes {
    Published,
    /// It stayed unpublished; this check noticed.
    NotPublished(Noticed),
    /// It was published, as the list of permitted damage allows.
    PublishedAsListed(&'static str),
}

impl Lane {
    pub fn new(number: u8, work: &std::path::Path) -> Result<Lane> {
        let directory = work.join(format!("lane-{number}"));
        std::fs::create_dir_all(&directory)?;
        let recipient = Recipient::new(&directory.join("recipient"))?;
        Ok(Lane { number, directory, donors: BTreeMap::new(), recipient, measured: BTreeMap::new() })
    }

    pub fn run(&mut self, round: &Round) -> Result<Outcome> {
        let measured = self.measured(round.data)?;
        let began = Instant::now();
        self.recipient.begin_again()?;
        let (result, ended) = match round.what {
            What::Damaged(place, victim, damage) => self.damaged(round.data, place, victim, damage),
            _ => self.under_a_condition(round, measured),
        }?;
        Ok(Outcome { result, time: began.elapsed(), ended: in_words(&ended) })
    }

    /// Starts the donor if it is down, and makes one undisturbed clone.
    fn measured(&mut self, data: Data) -> Result<Measured> {
        if let Some(measured) = self.measured.get(&data) {
            return Ok(*measured);
        }
        if !self.donors.contains_key(&data) {
            let address = Ipv4Addr::new(127, 77, self.number, 1 + data as u8);
            let donor = Donor::start(data, address, &self.directory.join(format!("donor-{}", data as u8)));
            self.donors.insert(data, donor.with_context(|| format!("a donor: {data}"))?);
        }
        self.recipient.begin_again()?;
        self.donor(data)?.begin(Orders::default())?;
        let address = self.donor(data)?.address;
        let (mut preparing, mut prepared) = (None, None);
        let volume = &self.recipient.volume;
        let ended = self.recipient.watched(address, &Start::default(), |time| {
            match volume.state().as_deref() {
                Some("preparing") => drop(preparing.get_or_insert(time)),
                _ if preparing.is_some() => drop(prepared.get_or_insert(time)),
                _ => {}
            }
            Ok(())
        })?;
        ensure!(ended.code == Some(0), "an undisturbed clone {}: {}", in_words(&ended), ended.reason());
        let preparing = preparing.context("prepare was not seen")?;
        let measured = Measured {
            clone: ended.time,
            prepare: prepared.unwrap_or(ended.time) - preparing,
            bytes: self.recipient.volume.used()?,
        };
        self.demand_equal(data).context("an undisturbed clone")?;
        self.measured.insert(data, measured);
        Ok(measured)
    }

    fn donor(&mut self, data: Data) -> Result<&mut Donor> {
        self.donors.get_mut(&data).context("no such donor")
    }

    fn demand_equal(&mut self, data: Data) -> Result<()> {
        let expected = self.donor(data)?.contents()?;
        let found = self.recipient.contents()?;
        expected.differences(&found).map_or(Ok(()), |differences| bail!("{differences}"))
    }

    fn under_a_condition(&mut self, round: &Round, measured: Measured) -> Result<(Outcomes, Ended)> {
        let mut start = Start::default();
        let (mut backup, mut prepare, mut server) = (Orders::default(), Orders::default(), Orders::default());
        let part = |whole: Duration, thousandths: u64| whole.mul_f64(thousandths as f64 / 1000.0);
        let fill = |leave| Some(Fill { volume: self.recipient.volume.path().to_owned(), leave });
        let (mut must_publish, mut restarts_sidecar) = (false, false);
        match round.what {
            What::PrepareKilled(at) => {
                let time = part(measured.prepare, at).as_micros() as u64;
                prepare = Orders { once: true, kill: Some(Kill::AfterMicroseconds(time)), ..prepare };
                must_publish = true;
            }
            What::CloneKilled(at) => start.kill_after = Some(part(measured.clone, at)),
            What::Descriptors(lack) => match lack {
                Lack::RecipientsSoftLimit => (start.limits, must_publish) = (Some(SOFT), true),
                Lack::RecipientsHardLimit(most) => start.limits = Some(Limits { soft: most, hard: most }),
                Lack::Prepare(most) => prepare.descriptors = Some(most),
                Lack::PrepareOnce(most) => prepare = Orders { once: true, descriptors: Some(most), ..prepare },
                Lack::PrepareThenKilled(most) | Lack::PrepareThenBothKilled(most) => {
                    let kill_parent = matches!(lack, Lack::PrepareThenBothKilled(_));
                    let kill = Some(Kill::AtTheFirstFault);
                    prepare = Orders { once: true, descriptors: Some(most), kill, kill_parent, ..prepare };
                }
                Lack::Rehearsal(most) => server.descriptors = Some(most),
                Lack::DonorsSoftLimit => (restarts_sidecar, must_publish) = (true, true),
                Lack::Backup(most) => backup.descriptors = Some(most),
            },
            What::DiskFull(Full::Preparing(leave)) => prepare.fill = fill(leave),
            What::DiskFull(Full::Rehearsing(leave)) => server.fill = fill(leave),
            What::DiskFull(Full::Receiving(_)) => {}
            What::Untouched => must_publish = true,
            What::Damaged(..) => bail!("a damaged copy is no condition"),
        }
        prepare.give(&self.recipient.programs(), Of::Prepare)?;
        server.give(&self.recipient.programs(), Of::Server)?;
        let donor = self.donors.get_mut(&round.data).context("no such donor")?;
        donor.begin(backup)?;
        if restarts_sidecar {
            donor.start_sidecar(Some(SOFT))?;
        }
        let (address, volume) = (donor.address, &self.recipient.volume);
        let mut is_full = false;
        let ended = self.recipient.watched(address, &start, |_| {
            if let What::DiskFull(Full::Receiving(at)) = round.what
                && !is_full
                && volume.used()? > measured.bytes * at / 1000
            {
                crate::volume::leave_free(volume.path(), 2 << 20)?;
                is_full = true;
            }
            Ok(())
        })?;
        let outcome = self.judge(round.data, &ended, must_publish);
        if restarts_sidecar {
            self.donor(round.data)?.start_sidecar(None)?;
        }
        Ok((outcome?, ended))
    }

    /// Either the donor's data are published, or nothing is. A start in normal conditions publishes them.
    fn judge(&mut self, data: Data, ended: &Ended, must_publish: bool) -> Result<Outcomes> {
        ensure!(!ended.hung, "clone hung");
        let published = self.recipient.volume.holds_data()?;
        if let Some(code) = ended.code {
            let is_told = code == 0 || NOT_WHOLE.contains(&code) || LACKING.contains(&code);
            ensure!(is_told, "clone {}: {}", in_words(ended), ended.reason());
            ensure!((code == 0) == published, "clone ended with {code}, and data are there: {published}");
            ensure!(code == 0 || !must_publish, "not published, {}: {}", in_words(ended), ended.reason());
        }
        // A server needs room as well.
        self.recipient.volume.make_roomy()?;
        if published {
            self.demand_equal(data).with_context(|| format!("published ({})", in_words(ended)))?;
            return Ok(Outcomes::Published);
        }
        self.demand_a_good_start(data)?;
        Ok(if ended.code.is_none() { Outcomes::Published } else { Outcomes::NotPublished(by_whom(ended)) })
    }

    /// A start in normal conditions publishes the remains of an earlier one or another copy.
    fn demand_a_good_start(&mut self, data: Data) -> Result<()> {
        Orders::revoke_all(&self.recipient.programs())?;
        self.donor(data)?.order(Orders::default())?;
        let address = self.donor(data)?.address;
        let (mut last, mut starts) = (String::new(), 0);
        let deadline = Instant::now() + GONE_WITHIN;
        while starts < STARTS {
            let ended = self.recipient.clone(address, &Start::default())?;
            // A tool that outlives its clone blocks the next one; a container would be restarted.
            if ended.code == Some(LOCKED) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(100));
                continue;
            }
            starts += 1;
            if ended.code == Some(0) {
                return self.demand_equal(data).context("published by a later start");
            }
            last = format!("{}: {}", in_words(&ended), ended.reason());
        }
        bail!("no start publishes afterwards, {last}")
    }

    fn damaged(&mut self, data: Data, place: Place, victim: Victim, damage: Damage) -> Result<(Outcomes, Ended)> {
        let order = Some((victim, damage));
        let (mut backup, mut prepare) = (Orders::default(), Orders::default());
        match place {
            Place::Stream => backup.stream = order,
            Place::Stage => prepare.stage = order,
            Place::Donor => {}
        }
        let donor = self.donors.get_mut(&data).context("no such donor")?;
        let before = donor.contents()?;
        donor.begin(backup)?;
        prepare.give(&self.recipient.programs(), Of::Prepare)?;
        let mending = match place {
            Place::Donor => Some(files::damage(&donor.data_dir(), &victim, damage, Some(&donor.aside()))?),
            _ => None,
        };
        let start = Start { impatient: true, ..Start::default() };
        let ended = self.recipient.clone(donor.address, &start);
        if let Some(mending) = mending {
            mending.mend().context("mending the donor")?;
        }
        let ended = ended?;
        ensure!(!ended.hung, "clone hung");
        if !self.recipient.volume.holds_data()? {
            let code = ended.code.context("clone was killed by a signal")?;
            ensure!(NOT_WHOLE.contains(&code), "clone {}: {}", in_words(&ended), ended.reason());
            return Ok((Outcomes::NotPublished(by_whom(&ended)), ended));
        }
        let differences = match self.recipient.contents() {
            Ok(found) => before.differences(&found),
            Err(error) => Some(format!("{error:#}")),
        };
        match (expected(place, victim.class, damage), differences) {
            (Expected::Noticed, None) => bail!("published, although a server has all of it"),
            (Expected::Noticed, Some(differences)) => bail!("published, and {differences}"),
            (Expected::MadeGood(why), None) => Ok((Outcomes::PublishedAsListed(why), ended)),
            (Expected::MadeGood(_), Some(differences)) => bail!("published, and not made good: {differences}"),
            (Expected::Unseen(why), _) => Ok((Outcomes::PublishedAsListed(why), ended)),
        }
    }

    /// The logs of the last round.
    pub fn logs(&self, data: Data) -> Vec<PathBuf> {
        let donor = self.donors.get(&data).map(Donor::log);
        [Some(self.directory.join("recipient/clone.log")), donor, Some(self.directory.join("recipient/server.log"))]
            .into_iter()
            .flatten()
            .collect()
    }
}

fn in_words(ended: &Ended) -> String {
    match ended.code {
        Some(code) => format!("exit {code}"),
        None => "killed".to_owned(),
    }
}

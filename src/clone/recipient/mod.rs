//! The recipient: finds a donor, and receives a whole backup from it or nothing.

mod retry;

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use rustix::fs::OFlags;
use tracing::info_span;

use super::legacy_stream;
use super::method::clone_plugin;
use crate::clone::connection::{self, Answer, Asker, Incoming, Refused, Silence};
use crate::clone::method::backup_tool::{self, server_options};
use crate::datadir::backup_metadata;
use crate::datadir::journal::{CloneRecord, ListedBy, PluginCopy, now};
use crate::model::event::info;
use crate::model::exit::{self, Reason};
use crate::model::host::HostPort;
use crate::model::identity::{Lineage, SetId};
use crate::model::ordinal::Ordinal;
use crate::model::position::Position;
use crate::observe::progress::Progress;
use crate::protocol::frame::WireError;
use crate::protocol::inventory::encoding;
use crate::protocol::message::{End, Offer, Refusal};
use crate::server::config_files::ServerConfig;
use crate::server::scratch::Program;
use crate::sys::disk::disk_error;
use crate::sys::limits::{self, Descriptors};
use crate::unpack::{self, Format, UnpackError, Writing};

pub use retry::receive_from_any;

/// A whole backup that was unpacked, by the donor's word and by every check of ours; not yet synced.
pub struct Received {
    pub donor: HostPort,
    pub donor_pod: String,
    pub tool: String,
    pub set_id: Option<SetId>,
    pub lineage: Option<Lineage>,
    pub bytes: u64,
    pub seconds: f64,
    /// Where replication starts from it, where that can be known already.
    pub position: Option<Position>,
    /// Where the plugin made it.
    pub plugin: Option<PluginCopy>,
    /// By what list of the donor's it can be proven.
    pub inventory: ListedBy,
}

impl Received {
    /// What the journal keeps of it.
    pub fn record(&self) -> CloneRecord {
        CloneRecord {
            donor: self.donor.to_string(),
            donor_pod: self.donor_pod.clone(),
            tool: self.tool.clone(),
            bytes: self.bytes,
            seconds: self.seconds,
            received_at: now(),
            position: self.position.clone(),
            plugin: self.plugin.clone(),
            unproven: Vec::new(),
            inventory: self.inventory.clone(),
        }
    }
}

/// Why one try at one donor brought nothing.
#[derive(Debug)]
pub enum Setback {
    /// There is nobody to talk to.
    Unreachable(String),
    /// The donor said no.
    Refused(Refusal),
    /// The donor may not be trusted, or can't be understood: trying it again changes nothing.
    Unacceptable(String),
    /// A backup came whole, and this donor's can't be used.
    Unusable(anyhow::Error),
    /// A backup began and did not come whole.
    Broken { why: String, bytes: u64 },
    /// Our own disk; no donor mends that.
    Fatal(anyhow::Error),
}

impl Setback {
    /// Which of them it is, for logs.
    pub fn kind(&self) -> &'static str {
        match self {
            Setback::Unreachable(_) => "unreachable",
            Setback::Refused(_) => "refused",
            Setback::Unacceptable(_) => "unacceptable",
            Setback::Unusable(_) => "unusable",
            Setback::Broken { .. } => "broken",
            Setback::Fatal(_) => "fatal",
        }
    }
}

impl fmt::Display for Setback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Setback::Unreachable(why) | Setback::Unacceptable(why) => f.write_str(why),
            Setback::Refused(refusal) => write!(f, "refused, {refusal}"),
            Setback::Broken { why, bytes } => write!(f, "broke after {bytes} bytes: {why}"),
            Setback::Unusable(error) | Setback::Fatal(error) => write!(f, "{error:#}"),
        }
    }
}

impl Setback {
    /// What a donor's silence is for a recipient. Where there is a secret, a no without proof is a stranger's word, or that of a
    /// donor with another secret: as good as none.
    pub(in crate::clone) fn of(silence: Silence, has_secret: bool) -> Setback {
        match silence {
            Silence::Unreachable(why) | Silence::Mute(why) => Setback::Unreachable(why),
            Silence::Refused(Refused { refusal, is_proven: false }) if has_secret => {
                Setback::Unreachable(format!("it says {refusal}, but does not prove that it knows the clone secret"))
            }
            Silence::Refused(refused) => Setback::Refused(refused.refusal),
            // Whoever says nonsense, or proves the wrong thing, has not proven to be a donor.
            Silence::Unacceptable(why) if has_secret => Setback::Unreachable(why),
            Silence::Unacceptable(why) => Setback::Unacceptable(why),
            Silence::Bare => Setback::Unacceptable(legacy_stream::recipient::REFUSED.to_owned()),
            Silence::Fatal(error) => Setback::Fatal(error),
        }
    }
}

/// What a clone is made with here.
pub struct Means<'a> {
    /// Called once a donor has offered a copy, before the first byte of it; gives the empty directory that it goes to.
    pub stage: &'a dyn Fn() -> anyhow::Result<PathBuf>,
    /// Where the donor's inventory goes, in the stage.
    pub inventory: &'a dyn Fn() -> PathBuf,
    pub writing: Writing,
    /// A server that has the CLONE plugin.
    pub server: Option<&'a Program>,
    /// The headless service's name.
    pub service: &'a str,
    /// The configuration of the server here, where that reaches the keys of encrypted data.
    pub keys: Option<&'a ServerConfig>,
}

/// One try at one donor. `is_bare` says that the donor was found to be the tutorial's, and isn't
/// asked what it is: that would break off another backup there.
pub fn receive(
    asker: &Asker<'_>,
    donor: &HostPort,
    is_bare: &mut bool,
    means: &Means<'_>,
) -> Result<Received, Setback> {
    info_span!("receive", %donor).in_scope(|| {
        if *is_bare {
            return legacy_stream::recipient::receive(asker, donor, is_bare, means);
        }
        let answer = match connection::ask_for_clone(asker, donor) {
            Err(Silence::Bare) if asker.takes_unproven => {
                return legacy_stream::recipient::receive(asker, donor, is_bare, means);
            }
            answer => answer.map_err(|silence| Setback::of(silence, asker.peering.secret.is_some()))?,
        };
        match (answer, means.server) {
            (Answer::Stream(incoming), _) => {
                check_descriptors(&incoming.offer).map_err(Setback::Fatal)?;
                check_file_size(incoming.offer.largest_file)?;
                let directory = (means.stage)().map_err(Setback::Fatal)?;
                unpack_all(*incoming, donor, &directory, means)
            }
            (Answer::Plugin(lease), Some(program)) => {
                clone_plugin::recipient::receive(asker, donor, *lease, program, means)
            }
            (Answer::Plugin(_), None) => Err(Setback::Unacceptable("there is no server here to copy with".into())),
        }
    })
}

/// Prepare keeps all files open. Where the donor doesn't say how many there are, they are counted before it.
fn check_descriptors(offer: &Offer) -> anyhow::Result<()> {
    let Some(files) = offer.files else { return Ok(()) };
    Descriptors::for_files(files).map(drop).map_err(|too_few| Reason::Limit.because(too_few))
}

/// It is the donor that says how long its files are: another one's may be shorter.
pub(in crate::clone) fn check_file_size(largest: Option<u64>) -> Result<(), Setback> {
    limits::check_file_size(largest).map_err(|too_long| Setback::Unusable(Reason::Limit.because(too_long)))
}

/// Unpacks to the stream's end and believes it only then.
fn unpack_all(incoming: Incoming, donor: &HostPort, directory: &Path, means: &Means<'_>) -> Result<Received, Setback> {
    let started = Instant::now();
    let Incoming { offer, mut data } = incoming;
    info!(
        ReceiveBegun,
        pod = offer.pod,
        tool = offer.tool,
        server = offer.server,
        format = %offer.format,
        expected_bytes = offer.expected_bytes,
        packing = offer.packing,
        "receiving"
    );
    data.collect_inventory(inventory_file(&(means.inventory)())?);
    // It is about what lies in the donor's data directory: members that are compressed have less.
    let expected = offer.expected_bytes.filter(|_| offer.members.is_none());
    let progress = Progress::of_bytes("receiving", expected);
    let unpacked = unpack::unpack_by(means.writing, offer.format, progress.watch(&mut data), directory);
    drop(progress);
    let bytes = data.bytes();
    let summary = unpacked.map_err(|error| setback_of(error, bytes))?;
    let broken = |why: String| Setback::Broken { why, bytes };
    let end = data.finish().map_err(|error| setback_of_wire(error, bytes))?;
    let inventory = checked_inventory(&(means.inventory)(), &end, bytes)?;
    summary.require_backup_metadata().map_err(|error| broken(error.to_string()))?;
    rebuild_settings(directory, means)?;
    let position = position_of(Ordinal(offer.ordinal), offer.format, directory).map_err(Setback::Unusable)?;
    let seconds = started.elapsed().as_secs_f64();
    info!(
        ReceiveDone,
        bytes,
        seconds,
        files = summary.files,
        position = end.position,
        "received, whole to its end mark"
    );
    Ok(Received {
        donor: donor.clone(),
        donor_pod: offer.pod,
        tool: offer.tool,
        set_id: offer.set_id,
        lineage: offer.lineage,
        bytes,
        seconds,
        position: Some(position),
        plugin: None,
        inventory,
    })
}

/// Makes the settings that a backup brought our own; what no tool writes is the donor's fault.
pub(in crate::clone) fn rebuild_settings(data: &Path, means: &Means<'_>) -> Result<(), Setback> {
    server_options::rebuild(data, means.keys).map_err(|error| match exit::reason_of(&error) {
        Some(Reason::Refused) => Setback::Unusable(error),
        _ => Setback::Fatal(error),
    })
}

/// The file that an inventory is written to; it is synced with the copy.
pub(in crate::clone) fn inventory_file(path: &Path) -> Result<BufWriter<File>, Setback> {
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    let file = OpenOptions::new().write(true).create(true).truncate(true).custom_flags(flags).open(path);
    let file = file.map_err(|error| disk_error(error, format!("making {}", path.display())));
    file.map(BufWriter::new).map_err(Setback::Fatal)
}

/// An inventory that came whole must also be one: a donor that sends something else is broken.
pub(in crate::clone) fn checked_inventory(path: &Path, end: &End, bytes: u64) -> Result<ListedBy, Setback> {
    let broken = |why: String| Setback::Broken { why, bytes };
    let sent = end.inventory.clone().ok_or_else(|| broken("the donor's inventory is missing".to_owned()))?;
    let file = File::open(path).with_context(|| format!("opening {}", path.display())).map_err(Setback::Fatal)?;
    let mut entries = 0u64;
    encoding::each_entry(io::BufReader::new(file), |_| entries += 1).map_err(|error| broken(error.to_string()))?;
    info!(InventoryReceived, entries, "what the copy must hold has come");
    Ok(ListedBy::Donor(sent))
}

/// The position that came with a backup: the primary's own, or what a replica says about its source. Each has the other
/// file too at times, with coordinates that would be the wrong ones for a clone.
pub(in crate::clone) fn position_of(donor: Ordinal, format: Format, data: &Path) -> anyhow::Result<Position> {
    if donor == Ordinal::PRIMARY {
        backup_metadata::position_of_primary(data, backup_tool::writer_of(format))
    } else {
        backup_metadata::position_of_source(data)
    }
}

/// A full disk is ours; everything else is the stream's or its donor's.
pub(in crate::clone) fn setback_of(error: UnpackError, bytes: u64) -> Setback {
    match error {
        // It is the donor that says how long a file gets: another one may know better.
        UnpackError::Output { path, source } if source.kind() == ErrorKind::FileTooLarge => {
            let error = disk_error(source, format!("writing {}", path.display()));
            match exit::reason_of(&error) {
                Some(Reason::Limit) => Setback::Unusable(error),
                _ => Setback::Broken { why: format!("{error:#}"), bytes },
            }
        }
        UnpackError::NoRoom { holes: 0, .. } => Setback::Fatal(Reason::DiskFull.error(error)),
        // And how long a hole: the next donor's may be shorter.
        UnpackError::NoRoom { .. } => Setback::Unusable(Reason::DiskFull.error(error)),
        UnpackError::Output { path, source } => {
            Setback::Fatal(disk_error(source, format!("writing {}", path.display())))
        }
        UnpackError::Input(error) => match error.downcast::<WireError>() {
            Ok(error) => setback_of_wire(error, bytes),
            Err(error) => Setback::Broken { why: error.to_string(), bytes },
        },
        other => Setback::Broken { why: other.to_string(), bytes },
    }
}

/// The same for what the unpacker did not read.
pub(in crate::clone) fn setback_of_wire(error: WireError, bytes: u64) -> Setback {
    match error {
        WireError::Inventory(error) => Setback::Fatal(disk_error(error, "writing the donor's inventory")),
        other => Setback::Broken { why: other.to_string(), bytes },
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustix::process::{Resource, getrlimit};

    use super::*;
    use crate::model::event::Event;
    use crate::protocol::message::Why;

    #[test]
    fn an_offer_of_more_files_than_may_be_open_ends_it_with_both_numbers() {
        let offer = |files| {
            let text = r#"{"pod":"mysql-0","ordinal":0,"format":"xbstream-mariadb","tool":"","server":"","heartbeat_seconds":5}"#;
            Offer { files, ..serde_json::from_str(text).unwrap() }
        };
        assert!(check_descriptors(&offer(None)).is_ok() && check_descriptors(&offer(Some(3))).is_ok());
        if let Some(hard) = getrlimit(Resource::Nofile).maximum {
            let error = check_descriptors(&offer(Some(hard))).unwrap_err();
            assert_eq!(exit::reason_of(&error), Some(Reason::Limit));
            let text = error.to_string();
            assert!(text.contains(&format!("{hard} InnoDB files")) && text.contains(&format!("is {hard}:")), "{text}");
        }
    }

    #[test]
    fn a_volume_without_room_is_full_and_holes_are_one_donors() {
        let setback = |holes| setback_of(UnpackError::NoRoom { holes, free: 5 }, 7);
        match (setback(0), setback(9)) {
            (Setback::Fatal(full), Setback::Unusable(holes)) => {
                assert_eq!([&full, &holes].map(exit::reason_of), [Some(Reason::DiskFull); 2]);
                assert!(holes.to_string().contains("holes of 9 bytes"), "{holes}");
            }
            (full, holes) => panic!("{full} {holes}"),
        }
    }

    #[test]
    fn a_file_longer_than_there_can_be_is_one_donors_fault_and_a_full_disk_is_nobodys() {
        let written = |kind: ErrorKind| {
            let path = PathBuf::from("/volume/a");
            setback_of(UnpackError::Output { path, source: io::Error::from(kind) }, 7)
        };
        let too_large = written(ErrorKind::FileTooLarge);
        assert!(matches!(&too_large, Setback::Broken { bytes: 7, .. }), "{too_large}");
        assert!(too_large.to_string().contains("writing /volume/a"), "{too_large}");
        for ours in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::PermissionDenied] {
            assert!(matches!(written(ours), Setback::Fatal(_)), "{ours}");
        }
    }

    #[test]
    fn where_there_is_a_secret_a_no_without_proof_is_no_answer() {
        for why in [Why::NoRoom, Why::Busy, Why::Unauthorised, Why::WrongSet] {
            let setback = |is_proven, has_secret| {
                let refusal = Refusal::new(Event::RefusedUnauthorised, why, "because");
                Setback::of(Silence::Refused(Refused { refusal, is_proven }), has_secret)
            };
            assert!(matches!(setback(false, false), Setback::Refused(_)), "{why:?}");
            assert!(matches!(setback(true, true), Setback::Refused(_)), "{why:?}");
            let nonsense = |has_secret| Setback::of(Silence::Unacceptable("nonsense".into()), has_secret);
            assert!(matches!((nonsense(true), nonsense(false)), (Setback::Unreachable(_), Setback::Unacceptable(_))));
            // The message that ends the recipient names it all the same.
            let unproven = setback(false, true);
            assert!(matches!(unproven, Setback::Unreachable(_)), "{why:?}");
            assert!(unproven.to_string().contains("because"), "{unproven}");
        }
    }
}

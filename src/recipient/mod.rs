//! The recipient: finds a donor, and receives a whole backup from it or nothing.

mod plugin;
mod rounds;
mod unproven;

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tracing::{info, info_span};

use crate::backup_tool::{self, left_files};
use crate::datadir::journal::{CloneRecord, Lineage, PluginCopy, SetId, now};
use crate::exit::{self, Reason};
use crate::limits::Descriptors;
use crate::ordinal::Ordinal;
use crate::own_server::Program;
use crate::peer::{self, Answer, Asker, Incoming, Silence};
use crate::position::Position;
use crate::progress::Progress;
use crate::settings::HostPort;
use crate::unpack::{self, Format, UnpackError, Writing};
use crate::wire::frame::WireError;
use crate::wire::message::{Offer, Refusal};

pub use rounds::receive_from_any;

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

impl From<Silence> for Setback {
    fn from(silence: Silence) -> Setback {
        match silence {
            Silence::Unreachable(why) => Setback::Unreachable(why),
            Silence::Refused(refused) => Setback::Refused(refused.refusal),
            Silence::Unacceptable(why) => Setback::Unacceptable(why),
            Silence::Bare => Setback::Unacceptable(unproven::REFUSED.to_owned()),
            Silence::Fatal(error) => Setback::Fatal(error),
        }
    }
}

/// What a clone is made with here.
pub struct Means<'a> {
    /// Called once a donor has offered a copy, before the first byte of it; gives the empty directory that it goes to.
    pub stage: &'a dyn Fn() -> anyhow::Result<PathBuf>,
    pub writing: Writing,
    /// A server that has the CLONE plugin.
    pub server: Option<&'a Program>,
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
            return unproven::receive(asker, donor, is_bare, means);
        }
        let answer = match peer::ask_for_clone(asker, donor) {
            Err(Silence::Bare) if asker.takes_unproven => {
                return unproven::receive(asker, donor, is_bare, means);
            }
            answer => answer?,
        };
        match (answer, means.server) {
            (Answer::Stream(incoming), _) => {
                check_descriptors(&incoming.offer).map_err(Setback::Fatal)?;
                let directory = (means.stage)().map_err(Setback::Fatal)?;
                unpack_all(*incoming, donor, &directory, means.writing)
            }
            (Answer::Plugin(lease), Some(program)) => plugin::receive(asker, donor, *lease, program, means.stage),
            (Answer::Plugin(_), None) => Err(Setback::Unacceptable("there is no server here to copy with".into())),
        }
    })
}

/// Prepare keeps all files open. Where the donor doesn't say how many there are, they are counted before it.
fn check_descriptors(offer: &Offer) -> anyhow::Result<()> {
    let Some(files) = offer.files else { return Ok(()) };
    Descriptors::for_files(files).map(drop).map_err(|too_few| Reason::Limit.because(too_few))
}

/// Unpacks to the stream's end and believes it only then.
fn unpack_all(incoming: Incoming, donor: &HostPort, directory: &Path, writing: Writing) -> Result<Received, Setback> {
    let started = Instant::now();
    let Incoming { offer, mut data } = incoming;
    info!(
        pod = offer.pod,
        tool = offer.tool,
        server = offer.server,
        format = %offer.format,
        expected_bytes = offer.expected_bytes,
        packing = offer.packing,
        "receiving"
    );
    // It is about what lies in the donor's data directory: members that are compressed have less.
    let expected = offer.expected_bytes.filter(|_| offer.members.is_none());
    let progress = Progress::of_bytes("receiving", expected);
    let unpacked = unpack::unpack_by(writing, offer.format, progress.watch(&mut data), directory);
    drop(progress);
    let bytes = data.bytes();
    let summary = unpacked.map_err(|error| setback_of(error, bytes))?;
    let broken = |why: String| Setback::Broken { why, bytes };
    let end = data.finish().map_err(|error: WireError| broken(error.to_string()))?;
    summary.require_backup_metadata().map_err(|error| broken(error.to_string()))?;
    let position = position_of(Ordinal(offer.ordinal), offer.format, directory).map_err(Setback::Unusable)?;
    let seconds = started.elapsed().as_secs_f64();
    info!(bytes, seconds, files = summary.files, position = end.position, "received, whole to its end mark");
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
    })
}

/// The position that came with a backup: the primary's own, or what a replica says about its source. Each has the other
/// file too at times, with coordinates that would be the wrong ones for a clone.
fn position_of(donor: Ordinal, format: Format, data: &Path) -> anyhow::Result<Position> {
    if donor == Ordinal::PRIMARY {
        left_files::position_of_primary(data, backup_tool::writer_of(format))
    } else {
        left_files::position_of_source(data)
    }
}

/// A full disk is ours; everything else is the stream's or its donor's.
fn setback_of(error: UnpackError, bytes: u64) -> Setback {
    match error {
        // It is the donor that says how long a file gets: another one may know better.
        UnpackError::Output { ref source, .. } if source.kind() == ErrorKind::FileTooLarge => {
            Setback::Broken { why: error.to_string(), bytes }
        }
        UnpackError::Output { path, source } => {
            Setback::Fatal(exit::disk_error(source, format!("writing {}", path.display())))
        }
        other => Setback::Broken { why: other.to_string(), bytes },
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustix::process::{Resource, getrlimit};

    use super::*;

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
}

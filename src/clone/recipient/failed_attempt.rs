//! Why an attempt at one donor failed.

use std::io::ErrorKind;

use crate::clone::connection::{Refused, Silence};
use crate::clone::legacy_stream;
use crate::model::exit::{self, Reason};
use crate::protocol::frame::WireError;
use crate::protocol::message::Refusal;
use crate::sys::disk::disk_error;
use crate::sys::limits;
use crate::unpack::UnpackError;

/// Why one attempt at one donor failed.
#[derive(Debug, strum::IntoStaticStr, thiserror::Error)]
#[strum(serialize_all = "lowercase", const_into_str)]
pub enum Setback {
    /// The donor is unreachable.
    #[error("{0}")]
    Unreachable(String),
    /// The donor refused.
    #[error("refused, {0}")]
    Refused(Refusal),
    /// The donor is untrusted or unintelligible: a retry changes nothing.
    #[error("{0}")]
    Unacceptable(String),
    /// A complete backup arrived, but this donor's data is unusable here.
    #[error("{0:#}")]
    Unusable(anyhow::Error),
    /// A backup started and broke off.
    #[error("broke after {bytes} bytes: {why}")]
    Broken { why: String, bytes: u64 },
    /// The fault is local, such as the disk: no other donor helps.
    #[error("{0:#}")]
    Fatal(anyhow::Error),
}

impl Setback {
    /// Classifies a donor's missing answer for a recipient. If there is a secret, an unproven refusal comes from a
    /// stranger or from a donor with another secret. It counts as no answer.
    pub(in crate::clone) fn of(silence: Silence, has_secret: bool) -> Setback {
        match silence {
            Silence::Unreachable(why) | Silence::Mute(why) => Setback::Unreachable(why),
            Silence::Refused(Refused { refusal, is_proven: false }) if has_secret => {
                Setback::Unreachable(format!("it answers {refusal}, but gives no proof of the clone secret"))
            }
            Silence::Refused(refused) => Setback::Refused(refused.refusal),
            // A peer that sends garbage or a wrong proof has yet to prove that it is a donor.
            Silence::Unacceptable(why) if has_secret => Setback::Unreachable(why),
            Silence::Unacceptable(why) => Setback::Unacceptable(why),
            Silence::Legacy => Setback::Unacceptable(legacy_stream::REFUSED.to_owned()),
            Silence::Fatal(error) => Setback::Fatal(error),
        }
    }
}

/// Checks the limit on file sizes. The fault is this donor's, because another donor's files may be shorter.
pub(in crate::clone) fn check_file_size(largest: Option<u64>) -> Result<(), Setback> {
    limits::check_file_size(largest).map_err(|too_long| Setback::Unusable(Reason::Limit.because(too_long)))
}

/// Sorts an unpacking error: a full disk is local, all else is the fault of the stream or its donor.
pub(in crate::clone) fn setback_of(error: UnpackError, bytes: u64) -> Setback {
    match error {
        // The donor states how long a file gets: another donor's may be shorter.
        UnpackError::Output { path, source } if source.kind() == ErrorKind::FileTooLarge => {
            let error = disk_error(source, format!("writing {}", path.display()));
            match exit::reason_of(&error) {
                Some(Reason::Limit) => Setback::Unusable(error),
                _ => Setback::Broken { why: format!("{error:#}"), bytes },
            }
        }
        UnpackError::NoRoom { holes: 0, .. } => Setback::Fatal(Reason::DiskFull.error(error)),
        // The same goes for holes: the next donor's may be shorter.
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

/// Sorts an error of the stream that the unpacker did not read.
pub(in crate::clone) fn setback_of_wire(error: WireError, bytes: u64) -> Setback {
    match error {
        WireError::Inventory(error) => Setback::Fatal(disk_error(error, "writing the donor's inventory")),
        other => Setback::Broken { why: other.to_string(), bytes },
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::PathBuf;

    use super::*;
    use crate::model::event::Event;
    use crate::protocol::message::Why;

    #[test]
    fn a_full_volume_is_fatal_and_large_holes_are_one_donors_fault() {
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
    fn an_overlong_file_is_one_donors_fault_and_a_full_disk_is_fatal() {
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
    fn with_a_secret_an_unproven_refusal_counts_as_no_answer() {
        for why in [Why::NoRoom, Why::Busy, Why::Unauthorised, Why::WrongSet] {
            let setback = |is_proven, has_secret| {
                let refusal = Refusal::new(Event::RefusedUnauthorised, why, "because");
                Setback::of(Silence::Refused(Refused { refusal, is_proven }), has_secret)
            };
            assert!(matches!(setback(false, false), Setback::Refused(_)), "{why:?}");
            assert!(matches!(setback(true, true), Setback::Refused(_)), "{why:?}");
            let nonsense = |has_secret| Setback::of(Silence::Unacceptable("nonsense".into()), has_secret);
            assert!(matches!((nonsense(true), nonsense(false)), (Setback::Unreachable(_), Setback::Unacceptable(_))));
            // The final error text still names the refusal.
            let unproven = setback(false, true);
            assert!(matches!(unproven, Setback::Unreachable(_)), "{why:?}");
            assert!(unproven.to_string().contains("because"), "{unproven}");
        }
    }
}

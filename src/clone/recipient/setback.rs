//! Why one try at one donor brought nothing.

use std::fmt;
use std::io::ErrorKind;

use crate::clone::connection::{Refused, Silence};
use crate::clone::legacy_stream;
use crate::model::exit::{self, Reason};
use crate::protocol::frame::WireError;
use crate::protocol::message::Refusal;
use crate::sys::disk::disk_error;
use crate::sys::limits;
use crate::unpack::UnpackError;

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
            Silence::Bare => Setback::Unacceptable(legacy_stream::REFUSED.to_owned()),
            Silence::Fatal(error) => Setback::Fatal(error),
        }
    }
}

/// It is the donor that says how long its files are: another one's may be shorter.
pub(in crate::clone) fn check_file_size(largest: Option<u64>) -> Result<(), Setback> {
    limits::check_file_size(largest).map_err(|too_long| Setback::Unusable(Reason::Limit.because(too_long)))
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
    use std::path::PathBuf;

    use super::*;
    use crate::model::event::Event;
    use crate::protocol::message::Why;

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

//! Errors of the volume.

use std::fmt;

use super::limits;
use crate::model::exit::{Reached, Reason};

/// An I/O error on the volume: a full disk has a code of its own, and so has a limit.
pub fn disk_error(error: std::io::Error, what: impl fmt::Display) -> anyhow::Error {
    let error = limits::explain(error);
    let full = matches!(
        error.kind(),
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded | std::io::ErrorKind::FileTooLarge
    );
    let reason = match full {
        _ if Reached::is_in(&error) => Reason::Limit,
        true => Reason::DiskFull,
        false => Reason::Disk,
    };
    reason.because(anyhow::Error::new(error).context(what.to_string()))
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;
    use crate::model::exit::{UNEXPECTED, code_of, reason_of};

    #[test]
    fn a_full_disk_is_told_from_a_broken_one() {
        let full = std::io::Error::from_raw_os_error(28);
        assert_eq!(reason_of(&disk_error(full, "writing x")), Some(Reason::DiskFull));
        let broken = std::io::Error::from_raw_os_error(5);
        assert_eq!(reason_of(&disk_error(broken, "writing x")), Some(Reason::Disk));
    }

    #[test]
    fn a_limit_is_a_reason_by_itself() {
        let met = || std::io::Error::from_raw_os_error(11);
        let error = disk_error(met(), "starting a writer");
        assert_eq!(reason_of(&error), Some(Reason::Limit));
        assert!(error.to_string().contains("RLIMIT_NPROC"), "{error}");
        let error = Err::<(), _>(limits::explain(met())).context("starting xtrabackup").unwrap_err();
        assert_eq!(code_of(&Reason::NoBackupTool.because(error)), 52);
        assert_eq!(code_of(&anyhow::Error::new(met())), UNEXPECTED);
    }
}
